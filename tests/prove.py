"""`make proofs`: judge every block and kind of layer by the rules of streams, and print a table."""
import resource
import sys

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track

from formal.blocks import MAKERS, PIPELINED, block
from formal.rules import broken


def judged(name: str) -> tuple[list[str], float]:
    """Return the rules that a block breaks, and the seconds of processor time that took."""
    before = _seconds()
    return [*broken(block(name))], _seconds() - before


def _seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> int:
    jobs = Parallel(n_jobs=2, return_as="generator")(delayed(judged)(name) for name in MAKERS)
    found = dict(zip(MAKERS, track(jobs, total=len(MAKERS), console=Console(stderr=True)), strict=True))
    print("| block or layer | cycles | proofs, s | pipelined: cycles | proofs, s |")
    print("|---|---|---|---|---|")
    for name in MAKERS:
        if not name.endswith(PIPELINED) or name.removesuffix(PIPELINED) not in MAKERS:
            cells = [cell for each in (name, name + PIPELINED) for cell in (_cells(each, *found[each])
                                                                            if each in found else ("", ""))]
            print(f"| {' | '.join([name, *cells])} |")
    wrong = {name: rules for name, (rules, _) in found.items() if rules}
    for name, rules in wrong.items():
        print(f"\n{name}\n" + "\n".join(rules))
    print(f"\n{len(found) - len(wrong)} of {len(found)} proved")
    return bool(wrong)


def _cells(name: str, rules: list[str], seconds: float) -> tuple[str, str]:
    return "broken" if rules else str(MAKERS[name][0]), f"{seconds:.1f}"


if __name__ == "__main__":
    sys.exit(main())
