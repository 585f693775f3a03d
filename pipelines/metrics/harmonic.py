"""The harmonic mean of a seen and an unseen score, by which generalised zero-shot results are ranked."""


def harmonic_mean(seen: float | None, unseen: float | None) -> float | None:
    """The harmonic mean 2su / (s + u) (CONCAT, eq. 14 and 15), in the unit of its arguments.

    Zero when both are zero; None when one is None, that is when no category of a group could be scored.
    """
    if seen is None or unseen is None:
        return None
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0
