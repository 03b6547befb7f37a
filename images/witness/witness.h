/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame every cell of the witness hangs in.
 *
 * A cell is one process that keeps one kind of state in flight: bytes in a pipe, a held lock, a
 * stopped child. Its check function takes the oldest part of that state, compares it with what the
 * sequence number says it must be, and puts the next part in. Anything lost, doubled or rolled back
 * is a mismatch, and a mismatch is FAIL for good. */
#ifndef WITNESS_H
#define WITNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WHAT_SIZE 160
#define LEFT_MAX 4
#define NAME_SIZE 48

/* What a cell made that outlives its process; the supervisor removes it. */
typedef enum {
  LEFT_SYSV_SHM,
  LEFT_SYSV_SEM,
  LEFT_SYSV_MSG,
  LEFT_POSIX_SHM,
  LEFT_POSIX_SEM,
  LEFT_POSIX_MQ
} LeftKind;

typedef struct {
  LeftKind kind;
  int id;
  char name[NAME_SIZE];
} Left;

enum { SLOT_OK, SLOT_WRITING, SLOT_FAILED };

/* The part of a cell that the supervisor sees; it lives in memory shared by all. */
typedef struct {
  _Atomic uint64_t count;     /* checks passed so far */
  _Atomic uint32_t state;     /* SLOT_*; never goes back */
  _Atomic uint32_t break_me;  /* set by the supervisor, taken by the cell */
  _Atomic uint32_t verify_me; /* likewise: compare all that was written to disk */
  _Atomic uint32_t n_left;
  Left left[LEFT_MAX];
  char what[WHAT_SIZE]; /* why it failed, valid once state is SLOT_FAILED */
} Slot;

typedef struct CellType CellType;

/* One running cell, in its own process. */
typedef struct {
  const CellType *type;
  Slot *slot;
  void *state;         /* state_size zeroed bytes of the type */
  const char *dir;     /* an empty directory of the cell's own */
  uint64_t salt;       /* makes the patterns of two cells differ */
  uint64_t pace_ms;    /* time between two checks */
  uint64_t disk_rate;  /* writes per second of a disk cell; 0 = as many as can be */
  uint64_t disk_depth; /* requests that it has in flight at once */
  uint64_t disk_mib;   /* how much of a disk it rewrites */
} Cell;

struct CellType {
  const char *name;
  const char *about;
  const char *on; /* of a disk cell: the disks it works on; else NULL */
  size_t state_size;
  bool rests_itself; /* the check lasts pace_ms, with its state live meanwhile */
  /* Says why this machine cannot run the cell, or NULL; may be NULL itself. */
  const char *(*absent) (void);
  /* Brings the state into flight. */
  void (*start) (Cell *cell);
  /* Verifies step @seq (0, 1, 2, …) and brings the next one into flight. */
  void (*check) (Cell *cell, uint64_t seq);
  /* Damages the state the way a faulty restore would. */
  void (*damage) (Cell *cell);
};

/* The table, in the order of the report. */
extern const CellType *const cell_table[];
extern const size_t cell_table_size;

/* Records the first failure of @cell; later ones change nothing. Safe in any process of the cell.
 */
void cell_fail (Cell *cell, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

/* True once the cell has failed, in whichever of its processes. */
bool cell_failed (const Cell *cell);

/* Fails the cell and returns from the (void) function if @condition does not hold. */
#define CELL_REQUIRE(cell, condition, ...)                                                         \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      cell_fail ((cell), __VA_ARGS__);                                                             \
      return;                                                                                      \
    }                                                                                              \
  } while (0)

/* Has the supervisor remove a System V object (@id) or a POSIX one (@name) at the end. */
void cell_leaves (Cell *cell, LeftKind kind, int id, const char *name);

/* Writes the path of @file in the cell's directory to @path. */
void cell_path (const Cell *cell, const char *file, char *path, size_t size);

/* Writes a name of the form /witness-… that no other process uses to @name (NAME_SIZE bytes). */
void cell_unique_name (const Cell *cell, const char *part, char *name);

/* fork() whose child dies with its parent. */
pid_t cell_fork (Cell *cell);

#endif
