/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt: a thin client of vmckptd. */
#include "daemon-start.h"
#include "interrupt.h"
#include "program.h"
#include "terminal.h"

#include <unistd.h>

int
main (int argc, char **argv)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  const ProgramSetup setup = { .out_fd = STDOUT_FILENO,
                               .err_fd = STDERR_FILENO,
                               .cancellable = cancellable,
                               .start = daemon_start,
                               .ask = isatty (STDERR_FILENO) ? terminal_ask_secret : NULL };

  interrupt_install (cancellable);
  return program_run (argv, &setup);
}
