// A source of randomness that fails while a file says so: one byte that is not 0. It is preloaded into
// a process (LD_PRELOAD), and asks the kernel otherwise.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static const volatile uint8_t *fails;

__attribute__((constructor)) static void find_file(void) {
  const char *path = getenv("RANDOMNESS_FAILS");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(NULL, sizeof *fails, PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) fails = page;
  close(file);
}

ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
  if (fails && *fails) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_getrandom, bytes, length, flags);
}
