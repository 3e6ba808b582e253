"""What `headrace build` writes."""
import json
import shutil
import tempfile
from pathlib import Path

from headrace.gen import elaborate, verilog
from headrace.gen.errors import HeadraceError
from headrace.gen.graph import Graph
from headrace.gen.plan import Plan
from headrace.gen.proof import Proof, prove
from headrace.hdl.hierarchy import Hierarchy
from headrace.hdl.ring import REGISTERS

PLAN, PROOF = "plan.json", "proof.json"


def netlist(graph: Graph, plan: Plan, *, rings: str = REGISTERS) -> Hierarchy:
    """Elaborate a network between AXI4-Streams, with rings made of registers or of LUT memory."""
    hierarchy = Hierarchy(rings=rings)
    hierarchy.build(elaborate.axi_top(graph, plan))
    return hierarchy


def build(graph: Graph, plan: Plan, folder: Path, *, rings: str = REGISTERS) -> tuple[list[Path], Proof]:
    """Write Verilog, the file list, the plan and the proof; return the Verilog files and the proof.

    Everything is made in a temporary folder first and moved into place at the end, so that a failure
    leaves nothing. A folder of an earlier build is replaced.

    Raises
    ------
    :exc:`HeadraceError`
        If the folder holds something else, or cannot be written.
    """
    try:
        earlier = folder.is_dir() and ((folder / PLAN).exists() or not any(folder.iterdir()))
        if folder.exists() and not earlier:
            raise HeadraceError(f"{folder} exists and is not the output of an earlier build: name a new one")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            made = Path(temporary) / "build"
            made.mkdir()
            files = verilog.write(netlist(graph, plan, rings=rings), made / "rtl")
            proof = prove(graph)
            for name, content in ((PLAN, plan.to_json()), (PROOF, proof.to_json())):
                (made / name).write_text(json.dumps(content, indent=2) + "\n")
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    except OSError as error:
        raise HeadraceError(f"cannot write {folder}: {error.strerror}") from error
    return [folder / "rtl" / file.name for file in files], proof
