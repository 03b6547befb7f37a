/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was found out about the QEMU programs and the files of this host, kept as long as it holds:
 * asking a program means running it, and boot files take long to hash. A program counts as the same
 * while its file is (as for FileHashes). One that only starts another, such as a script, is seen to
 * be another when a guest that it started answers with another version (qemu_facts_confirm()).
 */
#pragma once

#include <vmckpt/qmp/client.h>
#include <vmckpt/util/file-hashes.h>

typedef struct _QemuFacts QemuFacts;

/* Knows nothing yet. All functions: any thread. */
QemuFacts *qemu_facts_new (void);
/* Forgets everything. */
void qemu_facts_free (QemuFacts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QemuFacts, qemu_facts_free)

/* Borrowed; NULL for NULL. */
FileHashes *qemu_facts_hashes (QemuFacts *facts);

/* A guest that @program has started says @greeting: forgets what was known of @program if that is
 * another QEMU. @facts may be NULL. */
void qemu_facts_confirm (QemuFacts *facts, const char *program, const QmpGreeting *greeting);
