/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt run: start a guest. */
#include "cli-error.h"
#include "cli-format.h"
#include "verb.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <string.h>

typedef struct {
  char *ram;
  char *cpus;
  char *kernel, *initrd, *append;
  char **disks, **cdroms;
  char *firmware, *nvram;
  char *qemu, *accel, *machine, *cpu, *memory;
  char *priority, *start_delay;
  gboolean paused, agent, tpm;
} RunValues;

#define VALUE(member) G_STRUCT_OFFSET (RunValues, member)
static const VerbOption run_options[] = {
  { "ram", 0, G_OPTION_ARG_FILENAME, VALUE (ram), "SIZE", "memory, e.g. 512M or 2G" },
  { "cpus", 0, G_OPTION_ARG_FILENAME, VALUE (cpus), "N", "virtual processors" },
  { "kernel", 0, G_OPTION_ARG_FILENAME, VALUE (kernel), "FILE", "kernel to boot" },
  { "initrd", 0, G_OPTION_ARG_FILENAME, VALUE (initrd), "FILE", "its initial RAM disk" },
  { "append", 0, G_OPTION_ARG_FILENAME, VALUE (append), "TEXT", "its command line" },
  { "disk", 0, G_OPTION_ARG_FILENAME_ARRAY, VALUE (disks), "FILE[,OPTION…]", "a disk; see above" },
  { "cdrom", 0, G_OPTION_ARG_FILENAME_ARRAY, VALUE (cdroms), "FILE",
    "a CD drive; 'none': an empty one" },
  { "firmware", 0, G_OPTION_ARG_FILENAME, VALUE (firmware), "FILE", "UEFI firmware (code)" },
  { "nvram", 0, G_OPTION_ARG_FILENAME, VALUE (nvram), "FILE",
    "its variables: written and captured" },
  { "qemu", 0, G_OPTION_ARG_FILENAME, VALUE (qemu), "PROGRAM", "QEMU to run it with" },
  { "accel", 0, G_OPTION_ARG_FILENAME, VALUE (accel), "KIND", "auto, kvm or tcg" },
  { "machine", 0, G_OPTION_ARG_FILENAME, VALUE (machine), "TYPE", "QEMU's machine type" },
  { "cpu", 0, G_OPTION_ARG_FILENAME, VALUE (cpu), "MODEL", "QEMU's CPU model" },
  { "memory", 0, G_OPTION_ARG_FILENAME, VALUE (memory), "KIND",
    "shared (default) or private to QEMU" },
  { "tpm", 0, G_OPTION_ARG_NONE, VALUE (tpm), NULL, "a TPM 2.0 (swtpm)" },
  { "agent", 0, G_OPTION_ARG_NONE, VALUE (agent), NULL, "a port for the guest agent (qemu-ga)" },
  { "priority", 0, G_OPTION_ARG_FILENAME, VALUE (priority), "N", "see 'set'" },
  { "start-delay", 0, G_OPTION_ARG_FILENAME, VALUE (start_delay), "TIME", "see 'set'" },
  { "paused", 0, G_OPTION_ARG_NONE, VALUE (paused), NULL, "do not let its CPUs run yet" },
  { NULL },
};
#undef VALUE

static gboolean
set_file (JsonObject *body, const char *member, const char *path, GError **error)
{
  g_autofree char *absolute = path != NULL ? cli_absolute (path, error) : NULL;

  cli_set_string (body, member, absolute);
  return path == NULL || absolute != NULL;
}

/* Makes the file name in "FILE,OPTION…" absolute; what follows it is the daemon's to judge. */
static char *
absolute_disk (const char *text, GError **error)
{
  if (g_str_has_prefix (text, "nbd://") || g_str_has_prefix (text, "nbd+unix://"))
    return g_strdup (text);
  return cli_absolute (*text == ',' ? "" : text, error);
}

static gboolean
add_disks (JsonArray *array, char **disks, GError **error)
{
  for (; disks != NULL && *disks != NULL; disks++) {
    g_autofree char *absolute = absolute_disk (*disks, error);
    if (absolute == NULL)
      return FALSE;
    json_array_add_string_element (array, absolute);
  }
  return TRUE;
}

static gboolean
add_cdroms (JsonArray *array, char **cdroms, GError **error)
{
  for (; cdroms != NULL && *cdroms != NULL; cdroms++) {
    if (g_str_equal (*cdroms, "none")) {
      JsonObject *empty = json_object_new();
      json_object_set_string_member (empty, "media", "cdrom");
      json_array_add_object_element (array, empty);
      continue;
    }
    g_autofree char *absolute = absolute_disk (*cdroms, error);
    if (absolute == NULL)
      return FALSE;
    g_autofree char *text = g_strconcat (absolute, ",cdrom", NULL);
    json_array_add_string_element (array, text);
  }
  return TRUE;
}

static gboolean
set_disks (JsonObject *body, const RunValues *values, GError **error)
{
  JsonArray *array;

  if (values->disks == NULL && values->cdroms == NULL)
    return TRUE;
  array = json_array_new();
  json_object_set_array_member (body, "disks", array);
  return add_disks (array, values->disks, error) && add_cdroms (array, values->cdroms, error);
}

static gboolean
set_sizes (JsonObject *body, const RunValues *values, GError **error)
{
  guint64 ram;

  if (values->ram != NULL) {
    if (!bytes_parse_size (values->ram, &ram, error))
      return FALSE;
    if (ram > G_MAXINT64) {
      g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "--ram %s is too much", values->ram);
      return FALSE;
    }
    json_object_set_int_member (body, "ram_bytes", ram);
  }
  return cli_set_count (body, "cpus", values->cpus, error);
}

static JsonObject *
build_body (const VerbCall *call, GError **error)
{
  const RunValues *values = call->values;
  g_autoptr (JsonObject) body = json_object_new();
  g_autofree char *qemu = NULL;

  json_object_set_string_member (body, "name", call->args[0]);
  if (!set_sizes (body, values, error) || !set_file (body, "kernel", values->kernel, error) ||
      !set_file (body, "initrd", values->initrd, error) || !set_disks (body, values, error) ||
      !set_file (body, "firmware", values->firmware, error) ||
      !set_file (body, "nvram", values->nvram, error) ||
      !verb_set_priority (body, values->priority, error))
    return NULL;
  if (values->qemu != NULL && (qemu = cli_program (values->qemu, error)) == NULL)
    return NULL;
  cli_set_string (body, "append", values->append);
  cli_set_string (body, "qemu", qemu);
  cli_set_string (body, "accel", values->accel);
  cli_set_string (body, "machine", values->machine);
  cli_set_string (body, "cpu", values->cpu);
  cli_set_string (body, "memory", values->memory);
  cli_set_string (body, "start_delay", values->start_delay);
  if (values->tpm)
    json_object_set_boolean_member (body, "tpm", TRUE);
  if (values->agent)
    json_object_set_boolean_member (body, "agent", TRUE);
  if (values->paused)
    json_object_set_boolean_member (body, "paused", TRUE);
  if (call->rest[0] != NULL) {
    JsonArray *extra = json_array_new();
    for (char **argument = call->rest; *argument != NULL; argument++)
      json_array_add_string_element (extra, *argument);
    json_object_set_array_member (body, "extra", extra);
  }
  return g_steal_pointer (&body);
}

static gboolean
run (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = api_path ("guests", NULL);
  g_autoptr (JsonObject) body = build_body (call, error);
  g_autoptr (JsonObject) guest = NULL;

  if (body == NULL)
    return FALSE;
  if (cli->store != NULL)
    api_path_add (path, "store", cli->store);
  guest = api_call (cli->api, "POST", path, body, error);
  if (guest == NULL)
    return FALSE;
  if (cli->json) {
    cli_print_json (cli, guest);
    return TRUE;
  }
  g_autofree char *name = format_text_member (guest, "name");
  g_autofree char *state = format_text_member (guest, "state");
  g_autofree char *ram = format_size_member (guest, "ram_bytes");
  g_autofree char *pid = format_count_member (guest, "pid");
  output_line (cli->out, name);
  cli_say (cli, "%s is %s: %s of RAM, QEMU is process %s", name, state, ram, pid);
  const char *untracked = json_get_string_or (guest, "untracked", NULL);
  if (untracked != NULL && g_strcmp0 (json_get_string_or (guest, "memory", NULL), "shared") == 0)
    cli_say (cli, "its checkpoints will take longer: what it writes cannot be followed: %s",
             untracked);
  return TRUE;
}

const Verb verb_run = {
  .name = "run",
  .arguments = "NAME [-- QEMU-ARGUMENT…]",
  .summary = "Start a guest",
  .details = "With a store, the guest is claimed there: it cannot run elsewhere meanwhile.\n"
             "A disk is a file, a block device, or nbd://HOST[:PORT]/EXPORT, and belongs to\n"
             "each checkpoint. Options: shared (on storage of several hosts: not captured, but\n"
             "restore refuses when it was changed), readonly (must be there, unchanged),\n"
             "exclude (its content does not matter), bus=virtio|scsi|ide|nvme (a guest with\n"
             "nvme runs, but QEMU takes no checkpoint of it), format=raw|qcow2, name=NAME,\n"
             "cdrom, iothread.",
  .group = VERB_GROUP_GUESTS,
  .options = run_options,
  .values_size = sizeof (RunValues),
  .min_args = 1,
  .max_args = 1,
  .takes_rest = TRUE,
  .interrupted = "interrupted; 'vmckpt ps' shows whether the guest was started",
  .run = run,
};
