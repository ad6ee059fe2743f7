"""Times of small programs, computed by hand from the rules of the instruction set."""

import dataclasses

import pytest

from silicut.accelerators.gemm.config import (
    POST_STARTUP_CYCLES,
    RESULT_LATENCY_CYCLES,
    TINY,
    WINDOW_STARTUP_CYCLES,
)
from silicut.accelerators.gemm.program import Program, Queue, assemble, check
from silicut.accelerators.gemm.simulate import timeline
from silicut.records import BadProgram

LATENCY = TINY.memory.latency_cycles  # 8
RESULTS = """
set_pixels width=4
set_requantise low=-8 high=7
set_residual
set_lookup low=-8 high=7
set_output is_enabled=1 bits=4 pitch=8 ring_rows=4 row_words=4
"""  # five cycles


def times_of(text, config=TINY):
    return timeline(Program(config=config, queues=assemble(text), memory_words=1 << 20))


def spans(times, stage):
    return [(activity.start, activity.end) for activity in times.activities[stage]]


def test_loads_follow_one_another_and_their_data_come_later():
    times = times_of("[memory]\nload_instructions n_words=10\nload_instructions n_words=3\nstore n_words=5\n")
    # 1 + 10 cycles; 1 + 3; 1 + 5: one port carries one word a cycle
    assert spans(times, "memory") == [(0, 11 + LATENCY), (11, 15 + LATENCY), (15, 21)]
    assert times.cycles == 15 + LATENCY


def test_two_ports_carry_two_words_and_refresh_pauses():
    memory = dataclasses.replace(TINY.memory, n_ports=2, refresh_every=8, refresh_cycles=5)
    config = dataclasses.replace(TINY, memory=memory)
    times = times_of("[memory]\nstore n_words=9\nstore n_words=12\nstore n_words=2\n", config)
    # beats 5, 6, 1: the pause comes after the 8th, in the second transfer
    assert spans(times, "memory") == [(0, 6), (6, 6 + 1 + 6 + 5), (18, 20)]


def test_each_core_may_move_through_ports_of_its_own():
    memory = dataclasses.replace(TINY.memory, n_ports=2, has_core_ports=True)
    text = """
    [memory]
    store unit=0 n_words=20
    store unit=1 n_words=5
    load_table unit=1 n_entries=6
    load_rows n_words=4 bits=4 to_dsp=1
    load_rows n_words=8 bits=4 to_lut=1 to_dsp=1
    load_residual n_words=3 to_post=1
    """
    times = times_of(text, dataclasses.replace(TINY, memory=memory))
    # the second store is dispatched a cycle later, the table behind it; rows wait for all stores; both ports carry two words
    assert spans(times, "memory") == [(0, 21), (26, 31 + LATENCY), (31, 34 + LATENCY)]
    assert spans(times, "memory.dsp") == [
        (1, 7), (7, 14 + LATENCY), (21, 26 + LATENCY), (26, 31 + LATENCY), (31, 34 + LATENCY)
    ]  # fmt: skip
    waits = [(done.wait, done.wait_for) for done in times.activities["memory.dsp"]]
    assert waits == [(1, "ports"), (0, ""), (7, "ports"), (0, ""), (0, "")]


def test_a_window_unit_waits_for_its_rows():
    text = """
    [memory]
    load_rows n_words=8 bits=4 to_lut=1 send=lut
    [lut.window]
    set_map height=4 width=8 output_width=4 bits=4
    set_kernel n_slabs=1 height=2 width=2 stride_y=1 stride_x=2 dilation_y=1 dilation_x=1
    set_slab pitch=20 n_channels=20 ring_rows=4 row_words=12
    expand n_pixels=3 n_segments=2 wait=rows:1
    sync
    """
    times = times_of(text)
    arrival = 1 + 8 + LATENCY
    # a segment has 2 * 20 elements, two pieces of 32 bits a plane: 3 pixels * 4 planes * 2 segments * 2
    end = arrival + 1 + WINDOW_STARTUP_CYCLES + 48
    assert spans(times, "lut.window")[3:] == [(arrival, end), (end, end + 1)]
    waiting = times.activities["lut.window"][3]
    assert (waiting.wait, waiting.wait_for, waiting.busy) == (arrival - 3, "lut.rows.filled", end - arrival)


def test_a_window_unit_of_the_dsp_core_fills_by_elements():
    text = """
    [dsp.window]
    set_map height=4 width=8 output_width=4 bits=8
    set_kernel n_slabs=1 height=2 width=3 stride_y=1 stride_x=2 dilation_y=1 dilation_x=1
    set_slab pitch=8 n_channels=5 ring_rows=4 row_words=12
    expand n_pixels=3 n_segments=6
    expand_columns n_rows=1 n_columns=3 n_channels=4
    """
    times = times_of(text)
    # 6 segments of 5 bytes: two pieces of 4 bytes each; then (3 - 1) * 2 + 3 columns of 2 words
    first = 3 + 1 + WINDOW_STARTUP_CYCLES + 3 * 6 * 2
    assert spans(times, "dsp.window")[3:] == [(3, first), (first, first + 1 + WINDOW_STARTUP_CYCLES + 7 * 2)]


def test_execute_and_result_overlap_in_two_banks_of_accumulators():
    text = f"""
    [lut.compute]
    set_product n_words=1 lhs_bits=2 rhs_bits=2
    {RESULTS}
    gemm n_pixels=5 n_filters=6 is_first=1 is_last=1 send=stripe,output
    [lut.window]
    sync wait=stripe:1
    [memory]
    sync resource=3 wait=lut:1
    """
    times = times_of(text)
    # Tiles: 3 stripes of 2, 2, 1 pixels by 4 filters, then by 2. Execute takes 1 * 2 * 2 cycles, lanes are 2,
    # so results take 2 * 2, 2 * 2, 1 * 2, then 2, 2, 1; the array's latency is 6 + 1.
    latency = TINY.lut.latency_cycles
    assert latency == 7
    x1 = 6 + 1 + 4  # six registers, one dispatch
    x2 = x1 + 4
    r1 = x1 + latency + 4
    r2 = max(r1, x2 + latency) + 4
    x3 = max(x2, r1) + 4  # its bank is that of the first tile
    r3 = max(r2, x3 + latency) + 2
    x4 = max(x3, r2) + 4
    r4 = max(r3, x4 + latency) + 2
    x5 = max(x4, r3) + 4
    r5 = max(r4, x5 + latency) + 2
    x6 = max(x5, r4) + 4
    r6 = max(r5, x6 + latency) + 1
    assert spans(times, "lut.execute")[-1] == (6, x6)
    assert spans(times, "lut.result") == [(x1 + latency, r6 + RESULT_LATENCY_CYCLES)]
    assert spans(times, "lut.window") == [(x6, x6 + 1)]
    assert spans(times, "memory") == [(r6 + RESULT_LATENCY_CYCLES, r6 + RESULT_LATENCY_CYCLES + 1)]
    assert times.inner_waits["lut.execute", "accumulators"] == x6 - 7 - 6 * 4


def test_the_next_instruction_executes_while_results_leave():
    text = f"""
    [dsp.compute]
    set_product n_words=3 lhs_bits=8 rhs_bits=8 lhs_signed=1 rhs_signed=1
    {RESULTS}
    gemm n_pixels=1 n_filters=4 is_first=1 is_last=1
    gemm n_pixels=1 n_filters=4 is_first=1 is_last=1
    """
    times = times_of(text)
    x1, latency = 6 + 1 + 3 * 2, TINY.dsp.latency_cycles  # two passes a word
    x2 = x1 + 1 + 6
    r1, r2 = x1 + latency + 2, x2 + latency + 2
    assert spans(times, "dsp.execute")[-2:] == [(6, x1), (x1, x2)]
    assert spans(times, "dsp.result") == [
        (x1 + latency, r1 + RESULT_LATENCY_CYCLES),
        (x2 + latency, r2 + RESULT_LATENCY_CYCLES),
    ]


def test_parts_of_a_sum_have_one_result():
    text = f"""
    [lut.compute]
    set_product n_words=5 lhs_bits=1 rhs_bits=3
    {RESULTS}
    gemm n_pixels=2 n_filters=4 is_first=1
    gemm n_pixels=2 n_filters=4 lhs_base=5 rhs_base=15 is_last=1
    """
    times = times_of(text)
    x1 = 6 + 1 + 15
    x2 = x1 + 1 + 15
    assert spans(times, "lut.execute")[-2:] == [(6, x1), (x1, x2)]
    start = x2 + TINY.lut.latency_cycles
    assert spans(times, "lut.result") == [(start, start + 4 + RESULT_LATENCY_CYCLES)]


def test_a_result_waits_for_room_and_the_next_but_one_execution_for_it():
    text = f"""
    [lut.compute]
    set_product n_words=1 lhs_bits=1 rhs_bits=1
    {RESULTS}
    gemm n_pixels=2 n_filters=4 is_first=1 is_last=1 wait=output:1
    gemm n_pixels=2 n_filters=4 is_first=1 is_last=1
    gemm n_pixels=2 n_filters=4 is_first=1 is_last=1
    [memory]
    store n_words=100 send=lut
    """
    times = times_of(text)
    x1, x2 = 6 + 1 + 1, 6 + 4
    r1 = 101 + 4
    assert spans(times, "lut.execute")[-3:] == [(6, x1), (8, x2), (10, r1 + 1)]
    (first, *_) = times.activities["lut.result"]
    assert (first.start, first.wait, first.wait_for) == (101, 101 - x1 - 7, "lut.output.free")


def test_output_columns_are_the_tiles_of_a_depthwise_layer():
    text = f"""
    [dsp.compute]
    set_taps height=2 width=3 stride_x=2 bits=8
    {RESULTS}
    depthwise n_rows=1 n_columns=4 n_channels=4
    """
    times = times_of(text)
    # 2 columns of slices share 3 taps in 2 turns: 2 * 2 cycles a column; 4 channels leave in 2 cycles
    latency = TINY.dsp.latency_cycles
    x1 = 6 + 1 + 3 * 4
    r1 = x1 + latency + 2
    x2 = x1 + 2 * 4
    r2 = max(r1, x2 + latency) + 2
    x3 = x2 + 2 * 4
    r3 = max(r2, x3 + latency) + 2
    x4 = max(x3, r1) + 2 * 4  # there are three banks
    r4 = max(r3, x4 + latency) + 2
    assert spans(times, "dsp.execute")[-1] == (6, x4)
    assert spans(times, "dsp.result") == [(x1 + latency, r4 + RESULT_LATENCY_CYCLES)]


@pytest.mark.parametrize(
    ("bits", "taps", "n_channels", "cycles"),
    [
        (4, (3, 2), 5, 6),  # taps of one word
        (4, (3, 2), 40, 8 + 8 + 6),  # lanes for 16 channels, twice; taps for the 8 left over
        (8, (3, 2), 40, 5 * 6),  # five words of 8 channels
        (8, (1, 1), 40, 5 * 4),
        (8, (1, 1), 35, 4 * 4 + 2),
    ],
)
def test_a_pool_reads_words_tap_by_tap_while_lanes_finish(bits, taps, n_channels, cycles):
    text = f"""
    [post]
    set_map height=4 width=4 output_width=4 bits={bits}
    set_kernel n_slabs=1 height={taps[0]} width={taps[1]} stride_y=1 stride_x=1 dilation_y=1 dilation_x=1
    set_slab pitch=40 n_channels=40 ring_rows=4 row_words=24
    {RESULTS.replace("pitch=8", "pitch=40").replace("row_words=4", "row_words=12")}
    pool n_pixels=7 n_channels={n_channels}
    """
    assert spans(times_of(text), "post")[-1] == (8, 8 + 1 + POST_STARTUP_CYCLES + 7 * cycles)


def test_at_a_barrier_all_wait_for_the_last_data():
    others = "".join(f"[{queue}]\nbarrier\nsync\n" for queue in Queue if queue is not Queue.MEMORY)
    times = times_of(f"[memory]\nload_instructions n_words=10\nbarrier\nsync\n{others}")
    met = 11 + LATENCY
    assert times.barriers == (met,)
    for stage in ("lut.window", "lut.execute", "dsp.window", "dsp.execute", "post"):
        assert spans(times, stage) == [(met, met + 1), (met + 1, met + 2)]
        assert times.activities[stage][0].wait_for == "barrier"


def test_a_barrier_waits_for_results():
    text = f"""
    [lut.compute]
    set_product n_words=1 lhs_bits=1 rhs_bits=1
    {RESULTS}
    gemm n_pixels=1 n_filters=1 is_first=1 is_last=1
    """
    others = "".join(f"[{queue}]\nbarrier\n" for queue in Queue if queue is not Queue.LUT_COMPUTE)
    times = times_of(f"{text}barrier\n{others}")
    assert times.barriers == (8 + TINY.lut.latency_cycles + 1 + RESULT_LATENCY_CYCLES,)


def test_tokens_that_never_come_are_located():
    with pytest.raises(BadProgram) as error:
        times_of("[memory]\nsync wait=lut:1\n[lut.window]\nsync\nsync wait=rows:2 send=rows")
    assert str(error.value) == (
        "the program comes to a stop: memory instruction 0 (sync, layer 0) waits for 1 of lut; "
        "lut.window instruction 1 (sync, layer 0) waits for 2 of rows"
    )


def test_a_channel_that_overflows_is_located():
    config = dataclasses.replace(TINY, token_depth=2)
    sends = "sync send=stripe\n" * 3
    text = f"[lut.window]\n{sends}[lut.compute]\nsync\nsync\nsync\nsync wait=stripe:1\nsync wait=stripe:2\n"
    assert times_of(text, config).cycles == 5  # the first token leaves as the third one comes
    late = text.replace("[lut.compute]\n", "[lut.compute]\nsync\n")
    with pytest.raises(BadProgram) as error:
        times_of(late, config)
    assert str(error.value) == "channel lut.stripe.filled must hold at most 2 tokens; it gets one more in cycle 3"


def test_more_banks_keep_the_array_busy_through_short_tiles():
    text = f"""
    [dsp.compute]
    set_product n_words=1 lhs_bits=8 rhs_bits=8 lhs_signed=1 rhs_signed=1
    {RESULTS}
    gemm n_pixels=100 n_filters=4 is_first=1 is_last=1
    """

    def cycles(n_banks):
        dsp = dataclasses.replace(TINY.dsp, n_accumulator_banks=n_banks)
        return times_of(text, dataclasses.replace(TINY, dsp=dsp)).cycles

    # A bank is taken for 2 cycles of execute, the latency of 9, and 2 of result: 13, in which 2 tiles fit, or 3, or 6.5.
    latency = TINY.dsp.latency_cycles
    assert latency == 9
    end = latency + RESULT_LATENCY_CYCLES
    assert cycles(8) == 7 + 2 * 100 + 2 + end
    assert cycles(2) == 7 + 2 + 2 + 13 * 49 + 2 + end
    assert cycles(2) > cycles(3) > cycles(6) > cycles(7) == cycles(8)


def test_a_barrier_waits_for_the_queues_of_the_build_only():
    config = dataclasses.replace(TINY, lut=None)
    text = "".join(f"[{queue}]\nbarrier\n" for queue in Queue if not queue.startswith("lut"))
    program = Program(config=config, queues=assemble(text), memory_words=1)
    check(program)
    assert timeline(program).barriers == (0,)
