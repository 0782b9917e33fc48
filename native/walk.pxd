cimport cython

cdef extern from *:
    ctypedef long long int128 "__int128"

cdef object to_int(int128 value)

@cython.final
cdef class Walk:
    cdef object _buffers
    cdef const int* _days
    cdef const unsigned char* _kinds
    cdef const long long* _running
    cdef const unsigned int* _links
    cdef bint _linked
    cdef bint _has_terms
    cdef const int* _term_days
    cdef const unsigned int* _rates
    cdef const unsigned int* _graces
    cdef const unsigned char* _day_counts
    cdef const unsigned char* _allocations
    cdef const int* _schedule_days
    cdef const unsigned int* _ends
    cdef const long long* _amounts
    cdef const int* _due_days
    cdef object _traced_buffer
    cdef long long* _trace
    cdef Py_ssize_t traced

    cdef long long start_day
    cdef long long initial
    cdef Py_ssize_t event_count
    cdef Py_ssize_t term_count
    cdef Py_ssize_t schedule_count
    cdef Py_ssize_t installment_count

    cdef long long _at
    cdef long long _accrued_to
    cdef Py_ssize_t _next_term
    cdef Py_ssize_t _last_term
    cdef long long rate
    cdef int day_count
    cdef int _allocation
    cdef long long _mark
    cdef int128 _weight
    cdef int128 _leap_weight

    cdef long long first_accrual_day
    cdef Py_ssize_t term
    cdef Py_ssize_t schedule
    cdef long long fees
    cdef long long interest
    cdef long long principal
    cdef long long balance
    cdef int128 charged
    cdef int128 satisfying
    cdef int128 over_365
    cdef int128 over_360
    cdef int128 over_366
    cdef long long uncharged
    cdef long long total
    cdef int128 due
    cdef int128 past_due
    cdef long long days_past_due
    cdef long long oldest_due_day
    cdef bint is_due

    cdef bint run(
        self, long long day, long long start_day, long long initial, Py_ssize_t first, Py_ssize_t last,
        Py_ssize_t first_term, Py_ssize_t last_term, Py_ssize_t first_schedule, Py_ssize_t last_schedule,
    ) noexcept nogil
    cdef inline bint _walk(
        self, long long initial, Py_ssize_t first, Py_ssize_t last, long long paying_from, bint dated
    ) noexcept nogil
    cdef bint settle(self) noexcept nogil
    cdef bint find_arrears(
        self, long long day, Py_ssize_t first_schedule, Py_ssize_t first_installment, Py_ssize_t last_installment
    ) noexcept nogil
    cdef void _begin(self, long long start_day, Py_ssize_t first_term, Py_ssize_t last_term) noexcept nogil
    cdef void _advance(self, long long day, long long principal) noexcept nogil
    cdef void _accrue(self, long long day, long long principal) noexcept nogil
    cdef void _add_interest(self) noexcept nogil
    cdef void _note(self, long long day, long long principal, long long days, long long leap_days) noexcept nogil

cdef Walk read_loan(timeline)
cdef object walk_to(Walk walk, day)
