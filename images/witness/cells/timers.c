/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Timers. None may be early, and what the kernel counts must add up to the time that has passed. */
#include "cells.h"

#include "../stream.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static int64_t
nanoseconds (struct timespec time)
{
  return time.tv_sec * SECOND + time.tv_nsec;
}

static struct timespec
timespec_of (int64_t time)
{
  return (struct timespec){ .tv_sec = time / SECOND, .tv_nsec = time % SECOND };
}

static int64_t
now_monotonic (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return nanoseconds (time);
}

/* A periodic timer that first expires at @first and whose expiries have been counted. */
typedef struct {
  int64_t first;
  int64_t period;
  uint64_t counted;
} Periodic;

static uint64_t
periodic_due (const Periodic *timer, int64_t now)
{
  return now < timer->first ? 0 : (uint64_t)((now - timer->first) / timer->period) + 1;
}

/* Adds @n expiries that were collected between @before and @after; all that were due at @before
 * must be among them, and none that was not due at @after. */
static void
periodic_add (Cell *cell, Periodic *timer, uint64_t n, int64_t before, int64_t after)
{
  timer->counted += n;
  CELL_REQUIRE (cell, timer->counted <= periodic_due (timer, after),
                "%" PRIu64 " expiries when %" PRIu64 " were due", timer->counted,
                periodic_due (timer, after));
  CELL_REQUIRE (cell, timer->counted >= periodic_due (timer, before),
                "%" PRIu64 " expiries, %" PRIu64 " are lost", timer->counted,
                periodic_due (timer, before) - timer->counted);
}

/* timerfd: a periodic one, and one a day away whose remaining time must agree with the clock. */

typedef struct {
  int periodic;
  int far;
  int64_t far_expiry;
  Periodic timer;
} Timerfd;

static void
timerfd_start (Cell *cell)
{
  Timerfd *state = cell->state;
  int64_t now = now_monotonic();

  state->timer = (Periodic){ .first = now + 20000000, .period = 23456789 };
  state->far_expiry = now + 86400 * SECOND;
  state->periodic = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);
  state->far = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct itimerspec periodic = { timespec_of (state->timer.period),
                                 timespec_of (state->timer.first) };
  struct itimerspec far = { .it_value = timespec_of (state->far_expiry) };
  CELL_REQUIRE (cell,
                timerfd_settime (state->periodic, TFD_TIMER_ABSTIME, &periodic, NULL) == 0 &&
                    timerfd_settime (state->far, TFD_TIMER_ABSTIME, &far, NULL) == 0,
                "cannot set a timer: %s", strerror (errno));
}

static void
timerfd_check (Cell *cell, uint64_t seq)
{
  Timerfd *state = cell->state;
  uint64_t n = 0;
  struct itimerspec far;

  (void)seq;
  int64_t before = now_monotonic();
  CELL_REQUIRE (cell, read_full (state->periodic, &n, sizeof n), "cannot read: %s",
                strerror (errno));
  periodic_add (cell, &state->timer, n, before, now_monotonic());

  before = now_monotonic();
  CELL_REQUIRE (cell, timerfd_gettime (state->far, &far) == 0, "timer lost: %s", strerror (errno));
  int64_t expiry = nanoseconds (far.it_value);
  CELL_REQUIRE (
      cell, before + expiry <= state->far_expiry && now_monotonic() + expiry >= state->far_expiry,
      "the far timer has moved");
}

static void
timerfd_damage (Cell *cell)
{
  Timerfd *state = cell->state;
  struct itimerspec later = { timespec_of (state->timer.period),
                              timespec_of (state->timer.period * 3) };

  timerfd_settime (state->periodic, 0, &later, NULL);
}

const CellType cell_timerfd = { .name = "timerfd",
                                .about = "timerfd, periodic and far, against the clock",
                                .state_size = sizeof (Timerfd),
                                .start = timerfd_start,
                                .check = timerfd_check,
                                .damage = timerfd_damage };

/* itimer: ITIMER_REAL sends SIGALRM, and ITIMER_VIRTUAL a day of CPU time away keeps its rest. */

typedef struct {
  sigset_t alarm;
  Periodic timer;
  int64_t rest;
} Itimer;

static int64_t
timeval_ns (struct timeval time)
{
  return time.tv_sec * SECOND + time.tv_usec * 1000LL;
}

static void
itimer_start (Cell *cell)
{
  Itimer *state = cell->state;
  struct itimerval real = { { .tv_usec = 31000 }, { .tv_usec = 31000 } };
  struct itimerval cpu = { { .tv_sec = 4321 }, { .tv_sec = 86400 } };

  sigemptyset (&state->alarm);
  sigaddset (&state->alarm, SIGALRM);
  sigprocmask (SIG_BLOCK, &state->alarm, NULL);
  state->timer.period = 31000000;
  state->timer.first = now_monotonic() + state->timer.period;
  state->rest = 86400 * SECOND + SECOND / 10;
  CELL_REQUIRE (cell,
                setitimer (ITIMER_REAL, &real, NULL) == 0 &&
                    setitimer (ITIMER_VIRTUAL, &cpu, NULL) == 0,
                "cannot set a timer: %s", strerror (errno));
}

static void
itimer_check (Cell *cell, uint64_t seq)
{
  Itimer *state = cell->state;
  struct itimerval real, cpu;

  (void)seq;
  CELL_REQUIRE (cell, getitimer (ITIMER_REAL, &real) == 0 && getitimer (ITIMER_VIRTUAL, &cpu) == 0,
                "timer lost: %s", strerror (errno));
  CELL_REQUIRE (cell, timeval_ns (real.it_interval) == state->timer.period,
                "the period of the real timer has changed");
  while (sigwaitinfo (&state->alarm, NULL) != SIGALRM)
    ;
  /* Expiries while the signal is pending are not counted by the kernel, so few is no fault. */
  state->timer.counted++;
  CELL_REQUIRE (cell, state->timer.counted <= periodic_due (&state->timer, now_monotonic()),
                "%" PRIu64 " alarms are too many", state->timer.counted);
  CELL_REQUIRE (cell,
                cpu.it_interval.tv_sec == 4321 && timeval_ns (cpu.it_value) <= state->rest &&
                    timeval_ns (cpu.it_value) > SECOND,
                "the virtual timer has moved");
  state->rest = timeval_ns (cpu.it_value);
}

static void
itimer_damage (Cell *cell)
{
  struct itimerval cpu = { { .tv_sec = 4321 }, { .tv_sec = 2 * 86400 } };

  (void)cell;
  setitimer (ITIMER_VIRTUAL, &cpu, NULL);
}

const CellType cell_itimer = { .name = "itimer",
                               .about = "interval timers, real and virtual",
                               .state_size = sizeof (Itimer),
                               .start = itimer_start,
                               .check = itimer_check,
                               .damage = itimer_damage };

/* posix-timer: expiries plus overruns add up to the time that has passed. */

typedef struct {
  timer_t id;
  sigset_t signals;
  Periodic timer;
} PosixTimer;

static void
posix_timer_start (Cell *cell)
{
  PosixTimer *state = cell->state;
  struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
                            .sigev_signo = SIGRTMIN + 2,
                            .sigev_value.sival_int = 4711 };

  sigemptyset (&state->signals);
  sigaddset (&state->signals, SIGRTMIN + 2);
  sigprocmask (SIG_BLOCK, &state->signals, NULL);
  CELL_REQUIRE (cell, timer_create (CLOCK_MONOTONIC, &event, &state->id) == 0,
                "cannot make a timer: %s", strerror (errno));
  state->timer = (Periodic){ .first = now_monotonic() + 20000000, .period = 17654321 };
  struct itimerspec setting = { timespec_of (state->timer.period),
                                timespec_of (state->timer.first) };
  CELL_REQUIRE (cell, timer_settime (state->id, TIMER_ABSTIME, &setting, NULL) == 0,
                "cannot set a timer: %s", strerror (errno));
}

static void
posix_timer_check (Cell *cell, uint64_t seq)
{
  PosixTimer *state = cell->state;
  siginfo_t info;

  (void)seq;
  int64_t before = now_monotonic();
  while (sigwaitinfo (&state->signals, &info) < 0)
    ;
  CELL_REQUIRE (cell, info.si_code == SI_TIMER && info.si_value.sival_int == 4711,
                "a signal that the timer did not send");
  periodic_add (cell, &state->timer, 1 + (uint64_t)info.si_overrun, before, now_monotonic());
}

static void
posix_timer_damage (Cell *cell)
{
  PosixTimer *state = cell->state;
  struct itimerspec later = { timespec_of (state->timer.period),
                              timespec_of (state->timer.period * 3) };

  timer_settime (state->id, 0, &later, NULL);
}

const CellType cell_posix_timer = { .name = "posix-timer",
                                    .about = "POSIX timer, expiries and overruns add up",
                                    .state_size = sizeof (PosixTimer),
                                    .start = posix_timer_start,
                                    .check = posix_timer_check,
                                    .damage = posix_timer_damage };
