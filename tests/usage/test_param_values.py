"""Several values of one parameter: any written values are read back unchanged."""

from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from usage.param_values import join_values, list_values, merge_texts, parse_value, split_values, write_tag

VALUES = st.lists(
    st.one_of(
        st.none(),
        st.text(min_size=1, max_size=8),
        st.text(",\\~ nonea:", min_size=1, max_size=8),
        st.sampled_from(["~none", "\\", "a\\", " a ", "a,b", "team:~none"]),
    ),
    min_size=1,
    max_size=5,
)


def read(text: str) -> list[str | None]:
    """Return the values of a text."""
    return [parse_value(written) for written in split_values(text)]


@given(VALUES)
def test_values_come_back_as_they_were_written(values: list[str | None]) -> None:
    assert read(join_values(values)) == values


@given(VALUES, VALUES)
def test_a_repeated_parameter_has_the_values_of_all_its_texts(
    first: list[str | None], second: list[str | None]
) -> None:
    assert read(merge_texts([join_values(first), join_values(second)])) == [*first, *second]


def test_a_comma_separates_and_a_backslash_takes_it_literally() -> None:
    assert read(r"a, b\,c ,d\\,e") == ["a", "b,c", "d\\", "e"]
    assert read(r"C:\dir\x") == [r"C:\dir\x"]
    assert read(r"~none,\~none, ~None") == [None, "~none", "~None"]
    assert read("\\ x\\ ") == [" x "]
    assert read("a,,b") == ["a", "", "b"]
    assert merge_texts(["a\\", "b"]) == r"a\\,b"
    assert merge_texts([r" as\written, x~"]) == r"as\written,x~"
    assert merge_texts([]) == ""
    assert write_tag("a,b", None) == r"a\,b:~none"
    assert write_tag("team", "~none") == r"team:\~none"


def test_lists_of_names_take_the_same_rule() -> None:
    assert list_values(QueryDict(r"group_by=day,tag:a\,b&group_by=user_id"), "group_by") == [
        "day",
        "tag:a,b",
        "user_id",
    ]
    assert list_values({"fields": "id, day"}, "fields") == ["id", "day"]
    assert list_values({}, "fields") == []
