/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line for a guest. */
#include <vmckpt/drivers/qemu-disk.h>
#include <vmckpt/drivers/qemu.h>

#include "tpm.h"

typedef struct {
  GPtrArray *args;
} Args;

/* Adds an option and, if @format is not NULL, its value. */
static void G_GNUC_PRINTF (3, 4) add (Args *args, const char *option, const char *format, ...)
{
  va_list values;

  g_ptr_array_add (args->args, g_strdup (option));
  if (format == NULL)
    return;
  va_start (values, format);
  g_ptr_array_add (args->args, g_strdup_vprintf (format, values));
  va_end (values);
}

/* A UNIX server socket. QEMU works in the guest's directory, so the name is short. */
static void
add_socket (Args *args, const char *id, const char *file)
{
  add (args, "-chardev", "socket,id=%s,path=%s,server=on,wait=off", id, file);
}

static void
add_monitor (Args *args, const char *id, const char *file)
{
  add_socket (args, id, file);
  add (args, "-mon", "chardev=%s,mode=control", id);
}

/* The generation id tells a guest that it was forked. Only PCs have a place for it. */
static gboolean
has_vmgenid (const GuestSpec *spec)
{
  return g_str_has_prefix (spec->machine, "pc-q35") ||
         g_str_has_prefix (spec->machine, "pc-i440fx");
}

gboolean
qemu_spec_shares_memory (const GuestSpec *spec)
{
  return spec->memory == MEMORY_SHARED && spec->ram_id != NULL;
}

/* The machine and its RAM. Shared RAM is a file for QEMU, since x-ignore-shared leaves only named
 * files out of a stream. Its block has the name that QEMU gives RAM of its own, so that checkpoints
 * of both kinds are alike. */
static void
add_machine (Args *args, const GuestSpec *spec, const QemuLaunch *launch)
{
  g_autofree char *flash = qemu_disk_machine_options (spec);
  guint64 mib = spec->ram_bytes >> 20;

  if (!qemu_spec_shares_memory (spec)) {
    add (args, "-machine", "%s%s", spec->machine, flash);
  } else {
    add (args, "-machine", "%s,memory-backend=%s%s", spec->machine, spec->ram_id, flash);
    add (args, "-object",
         "memory-backend-file,id=%s,size=%" G_GUINT64_FORMAT
         "M,share=%s,mem-path=/proc/self/fd/%d,x-use-canonical-path-for-ramblock-id=off",
         spec->ram_id, mib, launch->copy_on_write ? "off" : "on", GUEST_FD_RAM);
  }
  add (args, "-m", "%" G_GUINT64_FORMAT "M", mib);
}

/* A port that qemu-ga finds by its name, on a controller of its own: extra arguments may have one.
 */
static void
add_agent (Args *args)
{
  add_socket (args, "agent", GUEST_FILE_AGENT);
  add (args, "-device", "virtio-serial-pci,id=agent-bus,max_ports=2");
  add (args, "-device",
       "virtserialport,bus=agent-bus.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0,id=agent0");
}

GStrv
qemu_command_line (const GuestSpec *spec, const char *directory, const QemuLaunch *launch)
{
  Args args = { g_ptr_array_new() };

  g_ptr_array_add (args.args, g_strdup (spec->qemu));
  add (&args, "-name", "guest=%s", spec->name);
  add (&args, "-uuid", "%s", spec->uuid);
  add (&args, "-nodefaults", NULL);
  add (&args, "-no-user-config", NULL);
  add (&args, "-display", "none");
  add (&args, "-msg", "timestamp=on");
  add_machine (&args, spec, launch);
  add (&args, "-accel", "%s", spec->accel);
  add (&args, "-cpu", "%s", spec->cpu);
  add (&args, "-smp", "%u", spec->cpus);
  if (spec->kernel != NULL)
    add (&args, "-kernel", "%s", spec->kernel);
  if (spec->initrd != NULL)
    add (&args, "-initrd", "%s", spec->initrd);
  if (spec->append != NULL)
    add (&args, "-append", "%s", spec->append);
  if (has_vmgenid (spec))
    add (&args, "-device", "vmgenid,id=vmgenid0,guid=%s", spec->genid);
  add_monitor (&args, "monitor", GUEST_FILE_MONITOR);
  add_monitor (&args, "keeper", GUEST_FILE_KEEPER_MONITOR);
  add_socket (&args, "serial", GUEST_FILE_SERIAL);
  add (&args, "-serial", "chardev:serial");
  qemu_disk_arguments (spec, args.args);
  if (spec->agent)
    add_agent (&args);
  if (spec->tpm)
    tpm_arguments (args.args);
  add (&args, "-S", NULL);
  if (launch->incoming)
    add (&args, "-incoming", "defer");
  for (guint i = 0; spec->extra[i] != NULL; i++)
    add (&args, spec->extra[i], NULL);
  g_ptr_array_add (args.args, NULL);
  return (GStrv)g_ptr_array_free (args.args, FALSE);
}
