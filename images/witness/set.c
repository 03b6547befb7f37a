/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "set.h"

#include "pattern.h"
#include "say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool
set_init (CellSet *set, bool guest)
{
  const char *parent = guest ? "/run" : getenv ("TMPDIR");

  memset (set, 0, sizeof *set);
  set->slots = mmap (NULL, (SET_MAX + 1) * sizeof *set->slots, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  snprintf (set->dir, sizeof set->dir, "%s/witness-XXXXXX", parent ? parent : "/tmp");
  if (set->slots != MAP_FAILED && mkdtemp (set->dir))
    return true;
  fprintf (stderr, "witness: cannot make %s: %s\n", set->dir, strerror (errno));
  return false;
}

/* The life of a cell's process. The count is kept twice, here and in shared memory: two pages that
 * were captured at different moments would disagree. */
static void
cell_live (Cell *cell)
{
  uint64_t seq = 0;

  cell->state = calloc (1, cell->type->state_size);
  if (!cell->state)
    cell_fail (cell, "no memory");
  else
    cell->type->start (cell);
  while (!cell_failed (cell)) {
    if (atomic_exchange (&cell->slot->break_me, 0))
      cell->type->damage (cell);
    cell->type->check (cell, seq);
    if (cell_failed (cell))
      break;
    uint64_t shared = atomic_load (&cell->slot->count);
    if (shared != seq)
      cell_fail (cell, "the shared count is %llu, the own one %llu", (unsigned long long)shared,
                 (unsigned long long)seq);
    atomic_store (&cell->slot->count, ++seq);
    if (!cell->type->rests_itself)
      sleep_ms (cell->pace_ms);
  }
  for (;;)
    pause();
}

static void
cell_start (CellSet *set, size_t index, const Options *options)
{
  char dir[DIR_SIZE + NAME_SIZE];

  snprintf (dir, sizeof dir, "%s/%s", set->dir, set->type[index]->name);
  mkdir (dir, 0700);
  pid_t pid = fork();
  if (pid < 0) {
    set_fail (set, index, "cannot fork");
  } else if (pid == 0) {
    Cell cell = { .type = set->type[index],
                  .slot = &set->slots[index],
                  .dir = dir,
                  .salt = pattern_word (0x77, index),
                  .pace_ms = options->pace_ms,
                  .disk_rate = options->disk_rate,
                  .disk_depth = options->disk_depth ? options->disk_depth : 1,
                  .disk_mib = options->disk_mib ? options->disk_mib : 1 };
    setpgid (0, 0);
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    prctl (PR_SET_NAME, set->type[index]->name);
    signal (SIGPIPE, SIG_IGN);
    signal (SIGINT, SIG_DFL);
    signal (SIGTERM, SIG_DFL);
    cell_live (&cell);
  }
  setpgid (pid, pid);
  set->pid[index] = pid > 0 ? pid : 0;
}

void
set_choose (CellSet *set, const Options *options)
{
  set->n = 0;
  for (size_t i = 0; i < cell_table_size && !options->off; i++) {
    const CellType *type = cell_table[i];
    if (options->cells[0] && !options_names (options->cells, type->name))
      continue;
    const char *absent = type->absent ? type->absent() : NULL;
    if (absent)
      say ("witness absent %s: %s", type->name, absent);
    else
      set->type[set->n++] = type;
  }
  for (size_t i = 0, n = disks_parse (options->disks, set->disks); i < n && set->n < SET_MAX; i++)
    set->type[set->n++] = &set->disks[i].type;
}

void
set_start (CellSet *set, const Options *options)
{
  memset (set->slots, 0, SET_MAX * sizeof *set->slots);
  for (size_t i = 0; i < set->n; i++)
    cell_start (set, i, options);
}

bool
slot_failed (const Slot *slot)
{
  return atomic_load (&slot->state) == SLOT_FAILED;
}

void
set_fail (CellSet *set, size_t index, const char *what)
{
  Cell cell = { .slot = &set->slots[index] };

  cell_fail (&cell, "%s", what);
}

void
set_note_end (CellSet *set, pid_t pid, int status)
{
  char what[WHAT_SIZE];

  for (size_t i = 0; i < set->n; i++) {
    if (set->pid[i] != pid)
      continue;
    set->pid[i] = 0;
    if (WIFSIGNALED (status))
      snprintf (what, sizeof what, "ended by signal %d", WTERMSIG (status));
    else
      snprintf (what, sizeof what, "ended with status %d", WEXITSTATUS (status));
    set_fail (set, i, what);
  }
}

bool
set_passed (const CellSet *set, const uint64_t *since, uint64_t checks)
{
  for (size_t i = 0; i < set->n; i++)
    if (!slot_failed (&set->slots[i]) && atomic_load (&set->slots[i].count) < since[i] + checks)
      return false;
  return true;
}

size_t
set_break (CellSet *set, const char *list)
{
  size_t n = 0;

  for (size_t i = 0; i <= set->n; i++) {
    if (!options_names (list, i < set->n ? set->type[i]->name : "load"))
      continue;
    atomic_store (&set->slots[i < set->n ? i : SET_MAX].break_me, 1);
    n++;
  }
  return n;
}

size_t
set_verify_disks (CellSet *set)
{
  size_t n = 0;

  for (size_t i = 0; i < set->n; i++) {
    if (!set->type[i]->on)
      continue;
    atomic_store (&set->slots[i].verify_me, 1);
    n++;
  }
  return n;
}

static void
left_remove (const Left *left)
{
  switch (left->kind) {
  case LEFT_SYSV_SHM:
    shmctl (left->id, IPC_RMID, NULL);
    break;
  case LEFT_SYSV_SEM:
    semctl (left->id, 0, IPC_RMID);
    break;
  case LEFT_SYSV_MSG:
    msgctl (left->id, IPC_RMID, NULL);
    break;
  case LEFT_POSIX_SHM:
    shm_unlink (left->name);
    break;
  case LEFT_POSIX_SEM:
    sem_unlink (left->name);
    break;
  case LEFT_POSIX_MQ:
    mq_unlink (left->name);
    break;
  }
}

/* Removes a cell's directory, which holds files only. */
static void
directory_remove (const char *path)
{
  DIR *dir = opendir (path);
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    unlinkat (dirfd (dir), entry->d_name, 0);
  if (dir)
    closedir (dir);
  rmdir (path);
}

void
set_stop (CellSet *set)
{
  char path[DIR_SIZE + NAME_SIZE];

  for (size_t i = 0; i < set->n; i++)
    if (set->pid[i])
      kill (-set->pid[i], SIGKILL);
  for (size_t i = 0; i < set->n; i++) {
    while (set->pid[i] && waitpid (set->pid[i], NULL, 0) < 0 && errno == EINTR)
      ;
    set->pid[i] = 0;
    for (uint32_t j = 0; j < atomic_load (&set->slots[i].n_left); j++)
      left_remove (&set->slots[i].left[j]);
    snprintf (path, sizeof path, "%s/%s", set->dir, set->type[i]->name);
    directory_remove (path);
  }
}

void
set_clear (CellSet *set)
{
  set_stop (set);
  rmdir (set->dir);
}
