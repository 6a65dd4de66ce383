// A wall clock that is wrong by as many seconds as a file says: eight bytes, in the order of the
// machine. It allocates nothing, and asks the kernel for everything else, so that it gets along with
// every allocator. Clocks that only go forward stay right.

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *wrong_by;

__attribute__((constructor)) static void find_file(void) {
  wrong_by = told_by("CLOCK_WRONG_BY", sizeof *wrong_by);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (!failed && is_wall && wrong_by) now->tv_sec += *wrong_by;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec precise;
  if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *copy) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  if (copy) *copy = now.tv_sec;
  return now.tv_sec;
}
