"""The columnar file: what is written is read again, exactly as large as needed, and every changed byte is detected."""

from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.portfolio.columnar_file import HEADER_BYTES, ColumnarFile, UnusableFile
from service.portfolio.columnar_writer import write_columnar_file
from service.portfolio.columns import GROUPS, Columns, Counts, file_size, join_loans
from service.portfolio.loan_columns import LoanColumns

DAY = 18_000
SPARE = Counts(0, 0, 1, 2, 3)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_loan(loan_id: int, events: int, terms: int, schedules: int, version: int = 0) -> LoanColumns:
    """Return a loan whose values differ from each other and from those of other loans."""

    def column(code: str, length: int) -> array:
        # 4 is the highest code of any kind of event, day count and order of allocation.
        values = range(loan_id * 100 + version, loan_id * 100 + version + length)
        return array(code, [1 + value % 3 for value in values] if code == "B" else values)

    installments = 2 * schedules
    return LoanColumns(
        loan_id, version, DAY + loan_id, loan_id * 10, ("USD", "JPY")[loan_id % 2], (2, 0)[loan_id % 2],
        days=column("i", events), running=column("q", events), kinds=column("B", events), links=column("I", events),
        term_days=column("i", terms), rates=column("I", terms), grace_days=column("I", terms),
        day_counts=column("B", terms), allocations=column("B", terms),
        schedule_days=column("i", schedules), ends=array("I", range(2, 2 * schedules + 1, 2)),
        due_days=column("i", installments), amounts=column("q", installments),
    )  # fmt: skip


def count(loans: list[LoanColumns]) -> Counts:
    """Return the exact numbers of rows."""
    return Counts(len(loans), *(sum(len(getattr(loan, group.columns[0])) for loan in loans) for group in GROUPS))


def check(file: ColumnarFile, loans: list[LoanColumns]) -> None:
    """Check that a file has exactly these loans."""
    columns = file.columns._asdict()
    assert columns["loan_ids"].tolist() == [loan.loan_id for loan in loans]
    assert columns["versions"].tolist() == [loan.version for loan in loans]
    assert file.currencies() == [(loan.currency, loan.exponent) for loan in loans]
    for name, values in join_loans(loans).items():
        assert columns[name].tolist() == values.tolist(), name
    assert file.path.stat().st_size == file_size(HEADER_BYTES, count(loans))


SHAPES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=5)


@FEW
@given(shapes=SHAPES, spare=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
def test_a_file_has_what_was_written_without_the_spare_room(tmp_path, shapes, spare):
    loans = [make_loan(number, *shape) for number, shape in enumerate(shapes, 1)]
    exact = count(loans)
    capacity = exact._replace(
        terms=exact.terms + spare[0], schedules=exact.schedules + spare[1], installments=exact.installments + spare[2]
    )
    path = tmp_path / "portfolio"
    with write_columnar_file(path, "a cluster", capacity) as writer:
        for loan in loans:
            writer.add(loan)
    file = ColumnarFile.open(path)
    check(file, loans)
    assert file.cluster == "a cluster"


@FEW
@given(shapes=SHAPES.filter(bool), data=st.data())
def test_copied_and_replaced_loans_keep_their_rows(tmp_path, shapes, data):
    loans = [make_loan(number, *shape) for number, shape in enumerate(shapes, 1)]
    path = tmp_path / "portfolio"
    with write_columnar_file(path, "c", count(loans)) as writer:
        for loan in loans:
            writer.add(loan)
    before = ColumnarFile.open(path)
    changed = data.draw(st.integers(0, len(loans) - 1))
    replacement = make_loan(changed + 1, *data.draw(st.tuples(*[st.integers(0, 4)] * 3)), version=7)
    after = [*loans[:changed], replacement, *loans[changed + 1 :]]
    with write_columnar_file(path, "c", count(after)) as writer:
        writer.copy(before.columns, 0, changed)
        writer.add(replacement)
        writer.copy(before.columns, changed + 1, len(loans))
    check(ColumnarFile.open(path), after)
    check_rows_of(before, loans)


def check_rows_of(file: ColumnarFile, loans: list[LoanColumns]) -> None:
    """Check an open file whose path was replaced."""
    for name, values in join_loans(loans).items():
        assert getattr(file.columns, name).tolist() == values.tolist(), name


@pytest.mark.parametrize("missing", [Counts(1, 0, 0, 0, 0), Counts(0, 1, 0, 0, 0)])
def test_missing_loans_or_events_leave_no_file(tmp_path, missing):
    loan = make_loan(1, 2, 1, 1)
    capacity = Counts(*(have + more for have, more in zip(count([loan]), missing, strict=True)))
    with (
        pytest.raises(UnusableFile, match="do not match the number of their records"),
        write_columnar_file(tmp_path / "portfolio", "c", capacity) as writer,
    ):
        writer.add(loan)
    assert list(tmp_path.iterdir()) == []


def test_every_changed_byte_is_detected(tmp_path):
    path = tmp_path / "portfolio"
    loans = [make_loan(1, 2, 2, 2), make_loan(2, 1, 0, 0)]
    capacity = Counts(*(have + more for have, more in zip(count(loans), SPARE, strict=True)))
    with write_columnar_file(path, "cluster", capacity) as writer:
        for loan in loans:
            writer.add(loan)
    whole = path.read_bytes()
    check(ColumnarFile.open(path), loans)
    for position in range(len(whole)):
        path.write_bytes(flip(whole, position, position % 8))
        with pytest.raises(UnusableFile, match=f"{path} is damaged"):
            ColumnarFile.open(path)


@pytest.mark.parametrize("column", Columns._fields)
def test_the_damaged_column_is_named(tmp_path, column):
    path = tmp_path / "portfolio"
    loan = make_loan(1, 2, 2, 2)
    with write_columnar_file(path, "cluster", count([loan])) as writer:
        writer.add(loan)
    columns = ColumnarFile.open(path).columns._asdict()
    names = list(columns)
    position = HEADER_BYTES + sum(columns[name].nbytes for name in names[: names.index(column)])
    path.write_bytes(flip(path.read_bytes(), position))
    with pytest.raises(UnusableFile, match=f"its column {column} does not match"):
        ColumnarFile.open(path)


def flip(content: bytes, position: int, bit: int = 0) -> bytes:
    """Return the content with one changed bit."""
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]
