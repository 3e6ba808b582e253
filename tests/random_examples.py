"""Random networks with options, by number."""
from hypothesis import HealthCheck, Phase, given, seed, settings

from random_networks import Network, networks
from random_plans import Options, every_option


def drawn(number: int) -> tuple[Network, Options]:
    """Hypothesis begins with its simplest example, then draws what the number stands for."""
    examples: list[tuple[Network, Options]] = []
    case = given(networks(), every_option())(lambda network, options: examples.append((network, options)))
    seed(number)(settings(max_examples=2, deadline=None, database=None, phases=[Phase.generate],
                          suppress_health_check=list(HealthCheck))(case))()
    return examples[-1]
