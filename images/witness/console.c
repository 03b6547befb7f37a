/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "console.h"

#include "say.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void
console_echo (bool on)
{
  struct termios settings;

  if (tcgetattr (STDIN_FILENO, &settings) != 0)
    return;
  settings.c_iflag |= ICRNL;
  settings.c_lflag |= ICANON;
  if (on)
    settings.c_lflag |= ECHO;
  else
    settings.c_lflag &= ~(tcflag_t)ECHO;
  tcsetattr (STDIN_FILENO, TCSANOW, &settings);
}

void
console_init (void)
{
  console_echo (false);
}

/* Runs a shell on the console until it ends; the report waits meanwhile. */
static void
console_shell (void)
{
  pid_t pid;

  console_echo (true);
  pid = fork();
  if (pid == 0) {
    execl ("/bin/sh", "sh", "-i", (char *)NULL);
    _exit (127);
  }
  while (pid > 0 && waitpid (pid, NULL, 0) != pid)
    ;
  console_echo (false);
}

/* Process 1 ends all others first, so that no request is under way when the devices stop. */
static void
console_poweroff (void)
{
  kill (-1, SIGKILL);
  while (waitpid (-1, NULL, 0) > 0)
    ;
  sync();
  reboot (RB_POWER_OFF);
}

/* If @line is "@verb ARGUMENT", returns the argument. */
static const char *
argument_of (const char *line, const char *verb)
{
  size_t length = strlen (verb);

  return strncmp (line, verb, length) == 0 && line[length] == ' ' ? line + length + 1 : NULL;
}

static void
console_obey (const char *line, CellSet *set, const Load *load, const Work *work)
{
  const char *argument;
  char *end = NULL;

  if ((argument = argument_of (line, "ping"))) {
    say ("pong %s", argument);
  } else if ((argument = argument_of (line, "dirty"))) {
    unsigned long mib = strtoul (argument, &end, 10);
    if (end == argument || *end || *argument == '-')
      say ("dirty takes a number of MiB, not '%s'", argument);
    else
      load_request_write (load, mib);
  } else if (strcmp (line, "work") == 0) {
    say ("work done %" PRIu64, work_done (work));
  } else if (strcmp (line, "work rest") == 0 || strcmp (line, "work on") == 0) {
    work_rest (work, line[5] == 'r');
  } else if (strcmp (line, "verify") == 0) {
    load_request_verify (load);
  } else if ((argument = argument_of (line, "break"))) {
    if (set_break (set, argument) == 0)
      say ("witness has no cell %s", argument);
  } else if (strcmp (line, "disks") == 0) {
    if (set_verify_disks (set) == 0)
      say ("witness has no disk");
  } else if (strcmp (line, "shell") == 0) {
    console_shell();
  } else if (strcmp (line, "poweroff") == 0) {
    console_poweroff();
  } else if (line[0]) {
    say ("orders: ping X, dirty MIB, work [rest|on], verify, disks, break CELL, shell, poweroff");
  }
}

void
console_serve (Console *console, uint64_t ms, CellSet *set, const Load *load, const Work *work)
{
  struct pollfd ready = { .fd = console->open ? STDIN_FILENO : -1, .events = POLLIN };
  char input[256];

  if (poll (&ready, 1, (int)ms) <= 0)
    return;
  ssize_t n = read (STDIN_FILENO, input, sizeof input);
  if (n <= 0)
    console->open = false;
  for (ssize_t i = 0; i < n; i++) {
    if (input[i] != '\n' && input[i] != '\r') {
      if (console->size < sizeof console->line - 1)
        console->line[console->size++] = input[i];
      continue;
    }
    console->line[console->size] = '\0';
    console->size = 0;
    console_obey (console->line, set, load, work);
  }
}
