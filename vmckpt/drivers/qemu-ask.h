/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking a QEMU program what it is and knows, or remembering what it said. */
#pragma once

#include <vmckpt/drivers/qemu-facts.h>

#include <json-glib/json-glib.h>

typedef struct {
  guint major, minor, micro;
  char *package;
  JsonArray *machines; /* of query-machines; see qmp_find_machine() */
  JsonObject *cpu;     /* (nullable): the expanded model (cpu_expand()) */
  GError *cpu_error;   /* (nullable): why it could not be expanded */
} QemuAnswers;

/* Frees what it holds and resets it. */
void qemu_answers_clear (QemuAnswers *answers);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuAnswers, qemu_answers_clear)

/**
 * qemu_ask:
 * @facts: (nullable): what is known is taken from there, what is found out is added
 * @program: absolute path
 * @accel: "kvm" or "tcg": what a CPU model stands for depends on it
 * @cpu: the model to expand
 *
 * Runs @program once at most. DRIVER_ERROR as from qemu_session_open().
 */
gboolean qemu_ask (QemuFacts *facts, const char *program, const char *accel, const char *cpu,
                   QemuAnswers *answers, GError **error);

/* The directories in which @program looks for its data files (-L help); empty if it does not say.
 */
GStrv qemu_ask_directories (QemuFacts *facts, const char *program);
