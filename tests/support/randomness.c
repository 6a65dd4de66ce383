// A source of randomness that fails while a file says so: one byte that is not 0. Otherwise it asks the
// kernel.

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>

static const volatile uint8_t *fails;

__attribute__((constructor)) static void find_file(void) {
  fails = told_by("RANDOMNESS_FAILS", sizeof *fails);
}

ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
  if (fails && *fails) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_getrandom, bytes, length, flags);
}
