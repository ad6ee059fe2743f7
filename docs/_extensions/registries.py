"""Pages that are read off the package, so that they cannot say what it does not do.

Before each build the functions of `PAGES` write Markdown into `generated/`: parts that other pages include (their names
begin with "_") and the pages of the reference.
"""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import silicut

REPOSITORY = Path(__file__).parents[2]
REGISTRIES = {
    "black-box solvers": "search.black_box.BLACK_BOX_SOLVERS",
    "channel rules": "graph.rules.RULES",
    "commands": "cli.app.app",
    "data": "zoo.data.registry.DATA_ENTRIES",
    "device engines": "targets.device.kit.MODULES",
    "engines": "targets.engines.ENGINES",
    "networks": "zoo.registry.ENTRIES",
    "onnx nodes": "graph.from_onnx.table.RULES",
    "onnx rules": "graph.onnx_rules.RULES",
    "opsets": "graph.from_onnx.opened.OPSETS",
    "packages": "zoo.packages._BUILDERS",
    "solvers": "search.solvers.SOLVERS",
    "values": "flows.values.VALUES",
}
"""Where the package keeps what it knows by name."""
ROOMS = "records graph numerics search training compress targets hardware accelerators zoo report flows".split()
PUBLIC_MODULES = tuple(
    "graph.ties graph.counting targets.profile targets.kit targets.measure_kit targets.elsewhere flows.diagnosis "
    "flows.front flows.label flows.summary flows.values report.comparisons report.inspection accelerators.gemm.config "
    "accelerators.gemm.program accelerators.gemm.compile accelerators.gemm.simulate flows.compile flows.compiled "
    "flows.simulate flows.partition accelerators.multi_engine.config accelerators.multi_engine.layers accelerators.system "
    "report.compilation report.partition report.simulation".split()
)
"""Modules whose names are public although their room does not give them away."""


def registered(name: str) -> Any:
    """Return one of the package's tables by its name in `REGISTRIES`."""
    module, _, attribute = REGISTRIES[name].rpartition(".")
    return getattr(importlib.import_module(f"silicut.{module}"), attribute)


def first_sentence(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(headings), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def code(text: str) -> str:
    """Return text as code."""
    return f"`{text}`"


# Lists.


def rooms() -> str:
    """Return the pages of the reference with what is on them."""
    rows = [("[silicut](generated/api-silicut.md)", "The names most people need.")]
    rows += [
        (f"[silicut.{r}](generated/api-{r}.md)", first_sentence(importlib.import_module(f"silicut.{r}"))) for r in ROOMS
    ]
    return table(("page", "what is there"), rows)


def engines() -> str:
    """Return the engines by name, and what each can be asked for besides whole latencies."""
    has_kit = registered("device engines")
    rows = [
        (code(name), first_sentence(kind), _why_no_profile(kind) or "yes", "yes" if name in has_kit else "no")
        for name, kind in registered("engines").items()
    ]
    return table(("engine", "what it is", "profiles and prunes", "on a device kit"), rows)


def _why_no_profile(kind: Any) -> str:
    """Return why an engine has no times of nodes, from the docstring of a method that only raises; "" where it has them."""
    kinds, _, why = first_sentence(kind.node_times).partition(": ")
    return f"no: {why.rstrip('.')}" if kinds.startswith("Raise ") else ""


def solvers() -> str:
    """Return the solvers by name."""
    modules = {name: importlib.import_module(f"silicut.search.{name}") for name in registered("solvers")}
    return table(("solver", "what it does"), [(code(name), first_sentence(module)) for name, module in modules.items()])


def black_box() -> str:
    """Return the searches of spaces by name, with what they need."""
    needs = {"ddpg": "rl", "evolution": "search", "tpe": "search"}
    rows = [
        (
            code(name),
            first_sentence(type(solver)),
            code(f"pip install 'silicut[{needs[name]}]'") if name in needs else "nothing",
        )
        for name, solver in registered("black-box solvers").items()
    ]
    return table(("solver", "what it does", "needs"), rows)


def values() -> str:
    """Return the value functions by name, and what each is made from."""
    from silicut.flows.values import MEASURED, NEED_DATA

    def source(name: str) -> str:
        return "measured divergences" if name in MEASURED else "training images" if name in NEED_DATA else "weights"

    rows = [(code(name), first_sentence(_function("compress", name)), source(name)) for name in registered("values")]
    return table(("value", "what it is", "made from"), rows)


def _function(room: str, name: str) -> Any:
    """Return the function of a room that has a name, dashes as underscores."""
    package = importlib.import_module(f"silicut.{room}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        found = getattr(importlib.import_module(module.name), name.replace("-", "_"), None)
        if inspect.isfunction(found):
            return found
    return None


def networks() -> str:
    """Return the networks of the zoo."""
    from silicut.zoo import bundled_names

    def row(entry: Any) -> tuple[str, ...]:
        size = "x".join(map(str, entry.input_shape))
        return code(entry.name), entry.summary, size, "yes" if entry.name in bundled_names() else ""

    return table(("network", "what it is", "input", "weights come along"), map(row, registered("networks")))


def accelerators() -> str:
    """Return the builds of the GEMM accelerator by name."""
    from silicut.accelerators.gemm.config import PRESETS

    def row(config: Any) -> tuple[str, ...]:
        lut, dsp = config.lut, config.dsp
        arrays = (
            f"{lut.n_rows} x {lut.n_columns} units of {lut.word_bits} bits" if lut else "none",
            f"{dsp.n_slices} slices, {dsp.n_rows} x {dsp.n_inputs} x {dsp.n_outputs} / {dsp.n_passes}" if dsp else "none",
        )
        return code(config.name), *arrays, str(config.memory.bytes_per_cycle), f"{config.clock_hz / 1e6:g}"

    headings = ("build", "LUT array", "DSP array", "bytes a cycle of memory", "MHz, assumed")
    return table(headings, map(row, PRESETS.values()))


def instructions() -> str:
    """Return the rules of the machine's parts, and every instruction with its loop nest, headers by queue alone."""
    from silicut.accelerators.gemm.program.reference import instruction_reference

    sections = re.split(r"^(?=##)", instruction_reference(), flags=re.M)
    return "".join(_without_header(each) if each.startswith("### ") else each for each in sections)


def _without_header(section: str) -> str:
    """Return the section of an instruction without the fields of the header that its queue's section lists."""
    left = re.sub(r"^\| [\d:]+ \| (?:queue|opcode|layer|(?:wait|send)_\w+) \|.*\n", "", section, flags=re.M)
    return re.sub(
        r"^\| bits \| field \| meaning \|\n\|---\|---\|---\|\n(?!\|)",
        "No fields but those of the header.\n",
        left,
        flags=re.M,
    )


def data() -> str:
    """Return the kinds of data."""
    rows = [(code(f"{e.name}:DIR" if e.needs_folder else e.name), e.summary) for e in registered("data")]
    return table(("data", "what it is"), rows)


def parts() -> str:
    """Return the optional packages and what each adds."""
    from silicut.cli.doctor import _PARTS

    rows = [(name, f"`pip install 'silicut[{extra}]'`" if extra else "comes along", gives) for name, extra, gives in _PARTS]
    return table(("package", "get it with", "what it gives"), rows)


def errors() -> str:
    """Return the named errors with the exit code of the command line."""
    from silicut.records import errors as module

    kinds = [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, module.SilicutError)]
    named = [kind for kind in kinds if kind not in (module.SilicutError, module.OutcomeError)]
    rows = [(code(k.__name__), "1" if issubclass(k, module.OutcomeError) else "2", first_sentence(k)) for k in named]
    return table(("error", "exit code", "meaning"), rows)


def latency_model() -> str:
    """Return how well sums of layers predicted whole networks, from the results of the benchmark."""
    with (REPOSITORY / "bench" / "main_job" / "results" / "latency_model.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))

    def percent(row: dict[str, str], kind: str) -> str:
        return f"{100 * float(row[kind + 'mean_error_frac']):.1f} % ({100 * float(row[kind + 'max_error_frac']):.1f} %)"

    headings = ("network", "fresh networks", "error of layers in the network: mean (greatest)", "of layers timed alone")
    return table(headings, [(code(r["network"]), r["n"], percent(r, ""), percent(r, "isolated_")) for r in found])


# What is not supported.


def operators() -> str:
    """Return which operators channels are followed through, and which are written into ONNX files."""
    followed, written = registered("channel rules").keys(), registered("onnx rules").keys()
    kinds = {
        "Pruned through and written": followed & written,
        "Pruned through, but refused by the ONNX writer": followed - written,
        "Written, but frozen around": written - followed,
    }
    return "\n\n".join(f"{title}\n: {', '.join(map(code, sorted(names))) or 'none'}" for title, names in kinds.items())


def refusals() -> str:
    """Return the cases in which the rule of an operator does not follow its channels, read from the rules' source."""
    kinds: dict[Callable[..., Any], list[str]] = {}
    for kind, rule in registered("channel rules").items():
        kinds.setdefault(rule, []).append(kind)
    rows = []
    for rule, names in kinds.items():
        reasons = _reasons(rule)
        if reasons:
            rows.append((", ".join(map(code, sorted(names))), "; ".join(reasons)))
    return table(("operators", "not followed where"), rows)


def _reasons(rule: Callable[..., Any]) -> list[str]:
    """Return the texts that a rule, or what it calls, raises `Unfollowed` with or freezes channels for."""
    reasons: dict[str, None] = {}
    seen, left = {rule}, [rule]
    while left:
        function = left.pop(0)
        for call in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in ("Unfollowed", "freeze") and call.args:
                reasons[_text(call.args[-1])] = None
            called = inspect.getmodule(function).__dict__.get(name)
            if inspect.isfunction(called) and called not in seen and _is_of_rules(called):
                seen.add(called)
                left.append(called)
    return list(filter(None, reasons))


def _is_of_rules(function: Callable[..., Any]) -> bool:
    """Whether a function belongs to the rules; how they read arguments says nothing about one kind of operator."""
    return function.__module__.startswith("silicut.graph.rules.") and not function.__module__.endswith(".arguments")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "the operator" for part in node.values)
    return ""


def onnx_nodes() -> str:
    """Return which nodes of an ONNX file are read, and of which operator sets."""
    opsets, names = registered("opsets"), registered("onnx nodes")
    return f"Operator sets {opsets[0]} to {opsets[-1]}\n: {', '.join(map(code, sorted(names)))}\n"


# The command line.


def commands() -> str:
    """Return the help of every command."""
    import typer

    parts = []
    for name, command in typer.main.get_command(registered("commands")).commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(["silicut", name, *(_metavar(p) for p in arguments), "[options]"])
        parts += [f"## silicut {name}", command.help or "", f"```text\n{usage}\n```", _options(command.params)]
    return "\n\n".join(parts)


def _metavar(parameter: Any) -> str:
    return parameter.name.upper() + ("..." if parameter.nargs == -1 else "")


def _options(parameters: Iterable[Any]) -> str:
    rows = []
    for parameter in parameters:
        is_argument = parameter.param_type_name == "argument"
        name = _metavar(parameter) if is_argument else ", ".join(parameter.opts)
        default = (
            ""
            if parameter.default is None or parameter.default is False
            else code(str(getattr(parameter.default, "value", parameter.default)))
        )
        rows.append((code(name), parameter.help or "", "required" if parameter.required else default))
    return table(("option", "meaning", "default"), rows)


# The reference of the package.


def reference() -> dict[str, str]:
    """Return one page for the names that the package itself gives, and one for each room."""
    known: dict[int, str] = {}
    pages = {"api-silicut.md": _page("silicut", "The names most people need.", {"silicut": silicut.__all__}, known)}
    for room in ROOMS:
        module = importlib.import_module(f"silicut.{room}")
        names = {module.__name__: list(getattr(module, "__all__", ()))}
        names |= {f"silicut.{m}": _own_names(f"silicut.{m}") for m in PUBLIC_MODULES if m.startswith(f"{room}.")}
        pages[f"api-{room}.md"] = _page(module.__name__, module.__doc__ or "", names, known)
    return pages


def _own_names(module_name: str) -> list[str]:
    module = importlib.import_module(module_name)
    if hasattr(module, "__path__"):
        return list(module.__all__)
    return [
        name for name, thing in vars(module).items() if name[0] != "_" and getattr(thing, "__module__", "") == module_name
    ]


def _page(title: str, text: str, names: dict[str, list[str]], known: dict[int, str]) -> str:
    """Return a page that documents each thing where it is met first and points there from elsewhere."""
    lines, elsewhere = [], []
    for module_name, public in names.items():
        module = importlib.import_module(module_name)
        for name in public:
            thing = getattr(module, name)
            if name.startswith("__") or inspect.ismodule(thing):
                continue
            is_one = inspect.isclass(thing) or inspect.isfunction(thing)
            if is_one and id(thing) in known:
                if known[id(thing)].rpartition(".")[0] not in names:
                    elsewhere.append(f"{{py:obj}}`{known[id(thing)]}`")
                continue
            known[id(thing)] = f"{module_name}.{name}"
            kind = "autoclass" if inspect.isclass(thing) else "autofunction" if inspect.isfunction(thing) else "autodata"
            home = _home(module_name, name) if kind == "autodata" else module_name
            lines += [f".. {kind}:: {home}.{name}", *(["   :no-value:"] if kind == "autodata" else []), ""]
    body = "\n".join(["```{eval-rst}", *lines, "```"])
    also = f"\n\nGiven here too: {', '.join(elsewhere)}." if elsewhere else ""
    return f"# {title}\n\n{text.strip()}{also}\n\n{body}\n"


def _home(package_name: str, name: str) -> str:
    """Return the module below a package in which a constant is assigned, where its docstring stands."""
    package = importlib.import_module(package_name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package_name}."):
        if re.search(rf"^{name}\b[^=\n]*= ", inspect.getsource(importlib.import_module(module.name)), re.M):
            return module.name
    return package_name


PAGES: dict[str, Callable[[], str]] = {
    "_rooms.md": rooms,
    "_engines.md": engines,
    "_solvers.md": solvers,
    "_black_box.md": black_box,
    "_values.md": values,
    "_networks.md": networks,
    "_data.md": data,
    "_parts.md": parts,
    "_accelerators.md": accelerators,
    "_instructions.md": instructions,
    "_errors.md": errors,
    "_latency_model.md": latency_model,
    "_operators.md": operators,
    "_refusals.md": refusals,
    "_onnx_nodes.md": onnx_nodes,
    "_commands.md": commands,
}


def write(folder: Path) -> None:
    """Write all generated text; files that say the same already are left alone, so that builds stay incremental."""
    folder.mkdir(exist_ok=True)
    texts = {name: page() for name, page in PAGES.items()} | reference()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Let Sphinx call `write` before it looks for pages."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "generated"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
