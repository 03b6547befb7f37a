/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a power cut leaves. A process is run whose doings in a directory are written down
 * (tests/tools/power-cut.c); then the directory can be put together as a cut at any moment of that
 * run might have left it:
 *  - data written since the file's last fsync may be there, be zeros, or be missing;
 *  - a name given, moved or removed since the last fsync of its directory may be so or not, each by
 *    itself, but one after the other where they are about the same name, and a rename as a whole.
 * That is weaker than what ext4 or XFS do, and what POSIX promises.
 */
#pragma once

#include <glib.h>

typedef struct _PowerCut PowerCut;

typedef enum {
  POWER_CUT_LOSE, /* everything not synced is lost */
  POWER_CUT_KEEP, /* all names are there, data not synced is zeros or missing */
  POWER_CUT_LAST, /* everything not synced is lost, but for the last name that changed */
  POWER_CUT_SOME, /* by chance */
} PowerCutMode;

/* Readies to record what happens in @directory, which is on the medium as it is now. */
PowerCut *power_cut_new (const char *directory);
void power_cut_free (PowerCut *cut);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PowerCut, power_cut_free)

/* Runs @argv with @fault (nullable) as VMCKPT_FAULT and records what it does; returns how it ended,
 * as waitpid(2) says. */
int power_cut_run (PowerCut *cut, const char *const *argv, const char *fault);

/* In the process that is recorded: "from now on this must hold". */
void power_cut_promise (const char *text);

/* Steps recorded so far: a cut may come after 0 to this many. */
guint power_cut_steps (PowerCut *cut);

/* The step's line in the journal, for messages; borrowed. */
const char *power_cut_step (PowerCut *cut, guint step);

/* Whether @text was promised within the first @steps. */
gboolean power_cut_promised (PowerCut *cut, guint steps, const char *text);

/**
 * power_cut_restore:
 * @steps: the cut comes after so many
 * @target: an empty directory, which becomes what the cut leaves
 *
 * Returns: (transfer full): a digest of the tree, equal for equal trees
 */
char *power_cut_restore (PowerCut *cut, guint steps, PowerCutMode mode, GRand *chance,
                         const char *target);
