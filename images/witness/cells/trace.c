/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A child under ptrace, stopped at a breakpoint with known registers and memory. */
#include "cells.h"

#include "../pattern.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's copy is read and written by the tracer; the address is the same in both. */
static volatile uint64_t mailbox;

typedef struct {
  pid_t pid;
  unsigned long long rip;
} Trace;

/* Stops at a breakpoint again and again; r12 counts the stops that are over. */
static void
traced_child (void)
{
  ptrace (PTRACE_TRACEME, 0, NULL, NULL);
  __asm__ volatile("xor %%r12d, %%r12d\n"
                   "1: int3\n inc %%r12\n jmp 1b\n" ::
                       : "r12", "cc", "memory");
  _exit (0);
}

static void
trace_await (Cell *cell)
{
  Trace *trace = cell->state;
  int status = 0;
  pid_t pid;

  do
    pid = waitpid (trace->pid, &status, __WALL);
  while (pid < 0 && errno == EINTR);
  CELL_REQUIRE (cell, pid == trace->pid && WIFSTOPPED (status) && WSTOPSIG (status) == SIGTRAP,
                "the child is not at its breakpoint (status %#x)", (unsigned)status);
}

/* Writes word @seq into the child's mailbox. */
static void
trace_poke (Cell *cell, uint64_t seq)
{
  Trace *trace = cell->state;

  CELL_REQUIRE (cell,
                ptrace (PTRACE_POKEDATA, trace->pid, &mailbox, pattern_word (cell->salt, seq)) == 0,
                "cannot write to the child: %s", strerror (errno));
}

static void
ptrace_start (Cell *cell)
{
  Trace *trace = cell->state;
  struct user_regs_struct registers;

  trace->pid = cell_fork (cell);
  if (trace->pid == 0)
    traced_child();
  trace_await (cell);
  if (cell_failed (cell))
    return;
  CELL_REQUIRE (cell,
                ptrace (PTRACE_SETOPTIONS, trace->pid, NULL, PTRACE_O_EXITKILL) == 0 &&
                    ptrace (PTRACE_GETREGS, trace->pid, NULL, &registers) == 0,
                "cannot trace: %s", strerror (errno));
  trace->rip = registers.rip;
  trace_poke (cell, 0);
}

static void
ptrace_check (Cell *cell, uint64_t seq)
{
  Trace *trace = cell->state;
  struct user_regs_struct registers;

  CELL_REQUIRE (cell, ptrace (PTRACE_GETREGS, trace->pid, NULL, &registers) == 0,
                "the child is not traced: %s", strerror (errno));
  CELL_REQUIRE (cell, registers.r12 == seq && registers.rip == trace->rip,
                "the child's r12 is %llu, not %" PRIu64, registers.r12, seq);
  errno = 0;
  long word = ptrace (PTRACE_PEEKDATA, trace->pid, &mailbox, NULL);
  CELL_REQUIRE (cell, errno == 0 && (uint64_t)word == pattern_word (cell->salt, seq),
                "the child's memory has changed");
  trace_poke (cell, seq + 1);
  CELL_REQUIRE (cell, ptrace (PTRACE_CONT, trace->pid, NULL, NULL) == 0, "cannot go on: %s",
                strerror (errno));
  trace_await (cell);
}

static void
ptrace_damage (Cell *cell)
{
  Trace *trace = cell->state;
  struct user_regs_struct registers;

  ptrace (PTRACE_GETREGS, trace->pid, NULL, &registers);
  registers.r12 += 1;
  ptrace (PTRACE_SETREGS, trace->pid, NULL, &registers);
}

static const char *
ptrace_absent (void)
{
  int status = 0;
  pid_t pid = fork();

  if (pid == 0)
    _exit (ptrace (PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
  return pid > 0 && waitpid (pid, &status, 0) == pid && status == 0 ? NULL
                                                                    : "ptrace is not allowed";
}

const CellType cell_ptrace = { .name = "ptrace",
                               .about = "traced child at a breakpoint, registers and memory",
                               .state_size = sizeof (Trace),
                               .absent = ptrace_absent,
                               .start = ptrace_start,
                               .check = ptrace_check,
                               .damage = ptrace_damage };
