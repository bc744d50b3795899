"""Names and words of what people got, in Redis."""

import random

from relay.state.redis_places import MOST, by_tag, tag_of

TAGS = 16


def test_each_of_many_people_is_in_one_script_of_his_tag_and_none_is_long() -> None:
    people = [random.Random(number).randbytes(16) for number in range(20 * MOST)]
    groups = by_tag(tag_of(person, TAGS) for person in people)
    assert sorted(number for _, numbers in groups for number in numbers) == [*range(len(people))]
    assert all(tag_of(people[number], TAGS) == tag for tag, numbers in groups for number in numbers)
    assert max(len(numbers) for _, numbers in groups) == MOST
    assert len(groups) < 2 * TAGS + 20
