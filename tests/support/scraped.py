"""What a page of metrics says."""

import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, dict[str, str], float]


def fetched(url: str) -> list[Sample]:
    """The samples of the page at an address."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        return parsed(response.read())


def parsed(page: bytes) -> list[Sample]:
    """The samples of a page; fails when it is none."""
    families = text_string_to_metric_families(page.decode())
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def total(samples: list[Sample], name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of the samples of that name that have these labels."""
    wanted = (labels or {}).items()
    return sum(value for called, has, value in samples if called == name and wanted <= has.items())


def names(samples: list[Sample]) -> set[str]:
    """The names of the samples."""
    return {name for name, _, _ in samples}
