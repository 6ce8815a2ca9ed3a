"""What schemathesis leaves out; it loads this file in an environment of its own."""

import schemathesis
from schemathesis import Case, GenerationMode, HookContext
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import CoveragePhaseData

MOST_BESIDE = 5


@schemathesis.hook  # type: ignore[untyped-decorator]
def filter_case(_context: HookContext, case: Case) -> bool:
    """Leave out a wrong parameter among dozens of others, some of which exclude each other: it is also tried alone."""
    phase = case.meta.phase.data if case.meta else None
    return not (
        isinstance(phase, CoveragePhaseData)
        and case.meta.generation.mode == GenerationMode.NEGATIVE
        and phase.parameter_location == ParameterLocation.QUERY
        and len(case.query or ()) > MOST_BESIDE
    )
