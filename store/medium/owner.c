/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "owner.h"

#include <vmckpt/util/json.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Begins the machine in a file name; earlier versions take it for a part of the host's name. */
#define MACHINE_MARK ".machine-"

/* A pid means something only in its own pid namespace (pid_namespaces(7)). */
static guint64
own_pid_namespace (void)
{
  struct stat st;
  return stat ("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

void
owner_init_self (Owner *owner)
{
  owner->host = g_strdup (g_get_host_name());
  owner->boot_id = process_boot_id();
  owner->machine = process_machine_id();
  owner->process = process_id_of (getpid());
  owner->since_us = g_get_real_time();
  owner->pid_namespace = own_pid_namespace();
}

void
owner_clear (Owner *owner)
{
  g_clear_pointer (&owner->host, g_free);
  g_clear_pointer (&owner->boot_id, g_free);
  g_clear_pointer (&owner->machine, g_free);
}

/* TRUE if @owner is surely of this machine: names may be given twice, and ids copied with a disk.
 */
static gboolean
is_of_this_machine (const Owner *owner)
{
  g_autofree char *machine = process_machine_id();

  return g_strcmp0 (owner->host, g_get_host_name()) == 0 &&
         (owner->machine == NULL || (machine[0] != 0 && g_str_equal (owner->machine, machine)));
}

gboolean
owner_is_dead (const Owner *owner)
{
  g_autofree char *boot_id = process_boot_id();

  if (g_strcmp0 (owner->boot_id, boot_id) != 0)
    return is_of_this_machine (owner) && !g_str_equal (boot_id, "unknown");
  if (owner->pid_namespace != 0 && owner->pid_namespace != own_pid_namespace())
    return FALSE;
  if (owner->process.start_ticks != 0)
    return !process_id_alive (owner->process);
  /* Not known well enough to tell it from a later process: dead only if there is none at all. */
  return owner->process.pid > 0 && process_id_of (owner->process.pid).start_ticks == 0;
}

gboolean
owner_is_stale (const Owner *owner, gint64 age_us)
{
  g_autofree char *boot_id = process_boot_id();

  if (owner_is_dead (owner))
    return TRUE;
  return (g_strcmp0 (owner->boot_id, boot_id) != 0 ||
          (owner->pid_namespace != 0 && owner->pid_namespace != own_pid_namespace())) &&
         age_us > OWNER_TRUST_US;
}

void
owner_to_json (const Owner *owner, JsonObject *object)
{
  json_object_set_string_member (object, "host", owner->host);
  json_object_set_string_member (object, "boot_id", owner->boot_id);
  if (owner->machine != NULL)
    json_object_set_string_member (object, "machine", owner->machine);
  json_object_set_int_member (object, "pid", owner->process.pid);
  json_object_set_int_member (object, "start_ticks", owner->process.start_ticks);
  json_object_set_int_member (object, "since_us", owner->since_us);
  json_object_set_int_member (object, "pid_namespace", owner->pid_namespace);
}

gboolean
owner_from_json (Owner *owner, JsonObject *object, GError **error)
{
  const char *host = json_get_string (object, "host", error);
  const char *boot_id = host != NULL ? json_get_string (object, "boot_id", error) : NULL;
  guint64 pid, since;

  if (boot_id == NULL || !json_get_uint64 (object, "pid", &pid, error) ||
      !json_get_uint64 (object, "start_ticks", &owner->process.start_ticks, error) ||
      !json_get_uint64 (object, "since_us", &since, error))
    return FALSE;
  owner->host = g_strdup (host);
  owner->boot_id = g_strdup (boot_id);
  owner->machine = g_strdup (json_get_string_or (object, "machine", NULL));
  owner->process.pid = MIN (pid, G_MAXINT);
  owner->since_us = since;
  owner->pid_namespace = json_get_uint64_or (object, "pid_namespace", 0);
  return TRUE;
}

char *
owner_to_file_name (const Owner *owner)
{
  g_autofree char *host = g_strdup (owner->host);

  g_strcanon (host, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.", '_');
  return g_strdup_printf ("%s.%d.%" G_GUINT64_FORMAT ".%.64s%s%s", owner->boot_id,
                          owner->process.pid, owner->process.start_ticks, host,
                          owner->machine != NULL ? MACHINE_MARK : "",
                          owner->machine != NULL ? owner->machine : "");
}

gboolean
owner_from_file_name (Owner *owner, const char *name, gint64 since_us)
{
  g_auto (GStrv) part = g_strsplit (name, ".", 4);
  guint64 pid;

  if (g_strv_length (part) != 4 ||
      !g_ascii_string_to_unsigned (part[1], 10, 1, G_MAXINT, &pid, NULL) ||
      !g_ascii_string_to_unsigned (part[2], 10, 0, G_MAXUINT64, &owner->process.start_ticks, NULL))
    return FALSE;
  char *machine = g_strrstr (part[3], MACHINE_MARK);
  if (machine != NULL) {
    *machine = 0;
    machine += strlen (MACHINE_MARK);
  }
  owner->boot_id = g_strdup (part[0]);
  owner->host = g_strdup (part[3]);
  owner->machine = g_strdup (machine);
  owner->process.pid = pid;
  owner->since_us = since_us;
  return TRUE;
}
