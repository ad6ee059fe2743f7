"""The table of FPGA parts and boards, and what users add to it."""

import pytest

from silicut.records import BadFile, ConfigError
from silicut.targets.parts import Board, Part, device_table

MINE = """
[parts.mine]
n_luts = 20_800
n_ffs = 41_600
n_dsps = 90
n_bram36 = 50
dsp_slice = "DSP48E1"

[boards.bench]
part = "mine"
bandwidth_gb_per_s = 1.6
n_ports = 2
"""


def written(folder, text, name="own.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_parts_of_the_papers():
    table = device_table()
    small, large = table.part("xc7z020"), table.part("xc7z045")
    assert (small.n_luts, small.n_ffs, small.n_dsps, small.n_bram36) == (53_200, 106_400, 220, 140)
    assert (large.n_luts, large.n_dsps, large.n_bram36, large.dsp_slice) == (218_600, 900, 545, "DSP48E1")
    assert {name for name, part in table.parts.items() if part.is_recalled} == {
        "xczu3eg", "xcu250", "xc7vx485t", "xc7vx690t"
    }  # fmt: skip


def test_a_board_stands_for_its_part():
    table = device_table()
    assert table.part("pynq-z1") is table.part("xc7z020")
    assert table.board("pynq-z1").bandwidth_gb_per_s == 2.1
    assert all(board.part in table.parts and board.is_recalled for board in table.boards.values())


def test_a_users_file_adds_to_it(tmp_path):
    table = device_table(written(tmp_path, MINE))
    assert table.part("bench") == Part(name="mine", n_luts=20_800, n_ffs=41_600, n_dsps=90, n_bram36=50, dsp_slice="DSP48E1")
    assert table.board("bench") == Board(name="bench", part="mine", bandwidth_gb_per_s=1.6, n_ports=2)
    assert "xc7z020" in table.parts


def test_a_board_of_a_second_file_may_carry_a_part_of_the_first(tmp_path):
    parts, boards = MINE.split("[boards")
    table = device_table(written(tmp_path, parts), written(tmp_path, "[boards" + boards, "boards.toml"))
    assert table.part("bench").name == "mine"


WRONG = [
    ("n_luts = 20_800", "n_lut = 20_800", "own.toml: parts.mine.n_lut must be left out or be one such as 'n_luts'"),
    ("n_luts = 20_800", "", "own.toml: parts.mine.n_luts must be given"),
    ("n_luts = 20_800", "n_luts = 2.5", "own.toml: parts.mine.n_luts must be a whole number, not 2.5"),
    ("n_luts = 20_800", "n_luts = true", "own.toml: parts.mine.n_luts must be a whole number, not True"),
    ("n_luts = 20_800", "n_luts = 0", "own.toml: parts.mine.n_luts must be positive, not 0"),
    ("n_dsps = 90", "n_dsps = -1", "own.toml: parts.mine.n_dsps must not be negative, not -1"),
    ('"DSP48E1"', '"DSP58"', "own.toml: parts.mine.dsp_slice must be DSP48E1 or DSP48E2, not 'DSP58'"),
    ("= 1.6", '= "fast"', "own.toml: boards.bench.bandwidth_gb_per_s must be a number, not 'fast'"),
    ("= 1.6", "= nan", "own.toml: boards.bench.bandwidth_gb_per_s must be positive, not nan"),
    ("= 1.6", "= inf", "own.toml: boards.bench.bandwidth_gb_per_s must be finite, not inf"),
    ('part = "mine"', 'part = "mien"', "own.toml: boards.bench.part must be one such as 'mine', not 'mien'"),
    ("[parts.mine]", "[parts.xc7z020]", "own.toml: parts.xc7z020 must be a new name: there is one already"),
    ("[boards.bench]", "[board.bench]", "own.toml: board must be left out: tables are parts.NAME and boards.NAME"),
    (MINE, "parts = 3", "own.toml: parts must be a table of names, not 3"),
    (MINE, "parts.mine = 3", "own.toml: parts.mine must be a table of keys, not 3"),
    (MINE, "boards = [1]", "own.toml: boards must be a table of names, not [1]"),
]


@pytest.mark.parametrize(("was", "now", "sentence"), WRONG)
def test_what_is_wrong_is_said(tmp_path, was, now, sentence):
    assert was in MINE
    with pytest.raises(ConfigError) as raised:
        device_table(written(tmp_path, MINE.replace(was, now)))
    assert sentence in raised.value.problems
    assert all(problem.startswith("own.toml: ") for problem in raised.value.problems)


def test_what_is_no_toml_is_said(tmp_path):
    with pytest.raises(BadFile, match=r"own.toml cannot be read as TOML \(.*\); correct it there"):
        device_table(written(tmp_path, MINE + MINE))  # a name given twice
    with pytest.raises(BadFile, match=r"nowhere.toml does not exist; check the path"):
        device_table(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("xc7z02", "part must be one such as 'xc7z020' or 'xc7z045', not 'xc7z02'"),
        ("pynq", "part must be one such as 'pynq-z2' or 'pynq-z1', not 'pynq'"),
    ],
)
def test_an_unknown_part_gets_near_names(name, sentence):
    with pytest.raises(ConfigError) as raised:
        device_table().part(name)
    assert str(raised.value) == sentence


def test_an_unknown_board_gets_near_names():
    with pytest.raises(ConfigError, match="board must be one such as 'zedboard', not 'zedbord'"):
        device_table().board("zedbord")
