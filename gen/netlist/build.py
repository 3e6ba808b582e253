"""What `headrace build` writes."""
import json
from pathlib import Path

from headrace.gen.ir.graph import Graph
from headrace.gen.ir.plan import Plan
from headrace.gen.kinds import elaborate
from headrace.gen.netlist import verilog
from headrace.gen.numerics.proof import Proof, prove
from headrace.gen.system.folder import PLAN, replaced
from headrace.hdl.base.hierarchy import Hierarchy

PROOF = "proof.json"


def netlist(graph: Graph, plan: Plan) -> Hierarchy:
    """Elaborate a network between AXI4-Streams."""
    hierarchy = Hierarchy(rings=plan.rings)
    hierarchy.build(elaborate.axi_top(graph, plan))
    return hierarchy


def build(graph: Graph, plan: Plan, folder: Path) -> tuple[list[Path], Proof]:
    """Write Verilog, the file list, the plan and the proof; return the Verilog files and the proof.

    A failure leaves all as it was. Files of an earlier build are replaced, others in the folder stay
    (:py:`folder.replaced()`).

    Raises
    ------
    :exc:`HeadraceError`
        If a file of somebody else is in the way, or the folder cannot be written.
    """
    with replaced(folder) as made:
        files = verilog.write(netlist(graph, plan), made / "rtl")
        proof = prove(graph)
        for name, content in ((PLAN, plan.to_json()), (PROOF, proof.to_json())):
            (made / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return [folder / "rtl" / file.name for file in files], proof
