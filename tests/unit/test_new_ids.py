"""New ids of an import: others, in the same order, and the same wherever a line refers to one."""

from chatkeep.domain import ids
from chatkeep.domain.model import Status
from chatkeep.domain.records import MessageLine, Role
from chatkeep.transfer.new_ids import NewIds


def line(message_id: str, turn_id: str | None = None) -> MessageLine:
    return MessageLine(
        seq=1,
        id=message_id,
        parent_seq=None,
        role=Role.USER,
        content="hello",
        status=Status.COMPLETED,
        turn_id=turn_id,
        created_at="2026-11-28T20:00:00.000000Z",
    )


def test_each_import_has_ids_of_its_own_in_the_same_order_of_time() -> None:
    turn, first, second = ids.turn_id(), ids.message_id(), ids.message_id()
    one, other = NewIds(), NewIds()
    replaced = [one.replace(line(each, turn)) for each in (first, second)]

    assert len({first, second, *(each.id for each in replaced)}) == 4
    assert {each.turn_id for each in replaced} != {turn}
    assert len({each.turn_id for each in replaced}) == 1
    assert [each.id[:16] for each in replaced] == [first[:16], second[:16]]
    assert one.replace(line(first, turn)) == replaced[0]
    assert other.replace(line(first, turn)).id != replaced[0].id


def test_an_id_of_another_product_gets_one_of_the_right_form() -> None:
    new = NewIds().replace(line("anything at all"))
    assert new.id.startswith("msg_000000000000" + "7")
    assert len(new.id) == len(ids.message_id())
