/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/run-clock.h>

struct _RunClock {
  GMutex lock;
  RunClockReading reading;
  gint64 open_stop_us; /* a STOP whose RESUME has not come; 0: running */
};

RunClock *
run_clock_new (void)
{
  RunClock *clock = g_new0 (RunClock, 1);
  g_mutex_init (&clock->lock);
  return clock;
}

void
run_clock_free (RunClock *clock)
{
  if (clock == NULL)
    return;
  g_mutex_clear (&clock->lock);
  g_free (clock);
}

void
run_clock_event (RunClock *clock, const char *event, gint64 time_us)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&clock->lock);
  RunClockReading *reading = &clock->reading;

  if (g_str_equal (event, "STOP")) {
    if (reading->stops++ == 0)
      reading->stopped_us = time_us;
    clock->open_stop_us = time_us;
  } else if (g_str_equal (event, "RESUME")) {
    reading->resumes++;
    reading->resumed_us = time_us;
    if (clock->open_stop_us != 0)
      reading->paused_us += MAX (0, time_us - clock->open_stop_us);
    clock->open_stop_us = 0;
  }
}

void
run_clock_mark (RunClock *clock)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&clock->lock);
  clock->reading = (RunClockReading){ 0 };
  clock->open_stop_us = 0;
}

RunClockReading
run_clock_read (RunClock *clock)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&clock->lock);
  return clock->reading;
}
