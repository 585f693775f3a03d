"""Seeds: stable numbers, no collisions of purpose."""

from pipelines.base.seeding import derive_seed


def test_a_seed_is_the_same_on_every_machine_and_day() -> None:
    # SHA-256 of b"(0, 'train-con', 17)", first 8 bytes, big-endian, without the lowest bit
    assert derive_seed(0, "train-con", 17) == 8181955358643051168
    assert 0 <= derive_seed("x") < 2**63


def test_parts_of_other_types_or_borders_give_other_seeds() -> None:
    parts = [(1, 23), (12, 3), (123,), ("1", 23), ("1, 23",), (1, "23"), (23, 1), ()]
    assert len({derive_seed(*part) for part in parts}) == len(parts)
