cdef long long count_leap_days(long long day) noexcept nogil
cdef long long count_thirty_days(long long day) noexcept nogil
cdef bint is_in_leap_year(long long day) noexcept nogil
