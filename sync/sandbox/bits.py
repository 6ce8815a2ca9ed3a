"""Cheap repeatable randomness for stand-ins that make a million records: about half a microsecond a draw."""

MASK = 2**64 - 1


def mix_bits(number: int) -> int:
    """Return 64 well mixed bits of `number`, the same on every machine (the splitmix64 finaliser)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def is_hit(number: int, share: float) -> bool:
    """Tell, always the same way for the same `number`, whether a share (0..1) of cases includes this case."""
    return mix_bits(number) < share * 2**64
