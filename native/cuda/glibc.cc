// CUDA's static runtime asks for functions of libdl, libpthread and librt, which moved to libc with new versions in glibc
// 2.34. As in core/glibc.cc they are defined here, hidden, as jumps to their first versions: whoever calls keeps its return
// address, which dlopen and dlsym look at.
#if defined(__linux__)
#include <features.h>
#endif
#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))

#if defined(__x86_64__)
#define FIRST_VERSION "GLIBC_2.2.5"
#define DLMOPEN_VERSION "GLIBC_2.3.4"
#define JUMP(name) "  jmp first_" #name "@PLT\n"
#else
#define FIRST_VERSION "GLIBC_2.17"
#define DLMOPEN_VERSION "GLIBC_2.17"
#define JUMP(name) "  b first_" #name "\n"
#endif

#define OF(name, version)                                  \
  __asm__(".symver first_" #name "," #name "@" version "\n" \
          ".text\n"                                        \
          ".globl " #name "\n"                             \
          ".hidden " #name "\n"                            \
          ".type " #name ", %function\n" #name ":\n" JUMP(name) ".size " #name ", .-" #name "\n");
#define FIRST(name) OF(name, FIRST_VERSION)

FIRST(dlclose)
FIRST(dlerror)
FIRST(dlopen)
FIRST(dlsym)
FIRST(dlvsym)
OF(dlmopen, DLMOPEN_VERSION)
FIRST(pthread_condattr_setpshared)
FIRST(pthread_kill)
FIRST(pthread_mutex_trylock)
FIRST(pthread_mutexattr_destroy)
FIRST(pthread_mutexattr_init)
FIRST(pthread_mutexattr_setpshared)
FIRST(pthread_mutexattr_settype)
FIRST(pthread_rwlock_destroy)
FIRST(pthread_rwlock_init)
FIRST(pthread_rwlock_rdlock)
FIRST(pthread_rwlock_timedrdlock)
FIRST(pthread_rwlock_timedwrlock)
FIRST(pthread_rwlock_tryrdlock)
FIRST(pthread_rwlock_trywrlock)
FIRST(pthread_rwlock_unlock)
FIRST(pthread_rwlock_wrlock)
FIRST(pthread_rwlockattr_destroy)
FIRST(pthread_rwlockattr_init)
FIRST(pthread_rwlockattr_setpshared)
FIRST(pthread_spin_destroy)
FIRST(pthread_spin_init)
FIRST(pthread_spin_lock)
FIRST(pthread_spin_trylock)
FIRST(pthread_spin_unlock)
FIRST(sem_destroy)
FIRST(sem_init)
FIRST(sem_post)
FIRST(sem_timedwait)
FIRST(sem_trywait)
FIRST(sem_wait)
FIRST(shm_open)
FIRST(shm_unlink)

#endif
