/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host can do and what is missing for the rest. */
#include <vmckpt/drivers/qemu.h>

#include "host.h"
#include "kvm.h"

/* What one check found. */
typedef struct {
  const char *check;
  gboolean ok;
  char *found;
  const char *purpose;
  const char *mend; /* what to do if it is not ok */
} Finding;

static void
add (JsonArray *checks, Finding finding)
{
  g_autofree char *found = finding.found;
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "check", finding.check);
  json_object_set_boolean_member (object, "ok", finding.ok);
  json_object_set_string_member (object, "found", found);
  json_object_set_string_member (object, "for", finding.purpose);
  json_object_set_string_member (object, "mend", finding.ok ? "" : finding.mend);
  json_array_add_object_element (checks, object);
}

static void
check_qemu (JsonArray *checks, const char *program)
{
  g_auto (QemuProbe) probe = { 0 };
  g_autoptr (GError) error = NULL;
  gboolean there = qemu_probe (program, &probe, &error);

  add (checks,
       (Finding){ .check = "qemu",
                  .ok = there && probe.major >= 6,
                  .found = there ? g_strdup_printf (
                                       "%s, version %u.%u.%u%s%s%s", probe.program, probe.major,
                                       probe.minor, probe.micro, *probe.package != '\0' ? " (" : "",
                                       probe.package, *probe.package != '\0' ? ")" : "")
                                 : g_strdup (error->message),
                  .purpose = "running guests",
                  .mend = "install qemu-system-x86 of version 6.0 or newer, or name the "
                          "program with --qemu" });
  if (there)
    add (checks, (Finding){ .check = "background-snapshot",
                            .ok = probe.has_background_snapshot,
                            .found = g_strdup (probe.has_background_snapshot
                                                   ? "QEMU can take background snapshots here"
                                                   : "QEMU refuses the capability here"),
                            .purpose = "live checkpoints; without it a checkpoint stops the guest",
                            .mend = "QEMU 6.0 or newer, and a userfaultfd for it (see there)" });
}

static void
check_userfaultfd (JsonArray *checks)
{
  g_autofree char *reason = NULL;
  gboolean ok = host_has_userfaultfd (&reason);

  add (checks, (Finding){ .check = "userfaultfd",
                          .ok = ok,
                          .found = g_steal_pointer (&reason),
                          .purpose = "following what a guest writes, restores that run before all "
                                     "is read, and live checkpoints by QEMU itself",
                          .mend = "run vmckptd as root or with CAP_SYS_PTRACE, set the sysctl "
                                  "vm.unprivileged_userfaultfd=1, or (Linux 6.1) let its user open "
                                  "/dev/userfaultfd" });
}

static void
check_kvm (JsonArray *checks)
{
  char *reason = NULL;
  gboolean ok = kvm_usable (&reason);

  add (checks, (Finding){ .check = "kvm",
                          .ok = ok,
                          .found = ok ? g_strdup ("usable") : reason,
                          .purpose = "guests at the processor's speed; without it QEMU emulates "
                                     "the processor (tcg)",
                          .mend = "a processor with VMX or SVM, switched on in the firmware and, "
                                  "in a virtual machine, passed on by its host; the module "
                                  "kvm_intel or kvm_amd; and access to /dev/kvm" });
}

static void
check_kernel (JsonArray *checks)
{
  guint major, minor;

  host_kernel_version (&major, &minor);
  /* pidfd_getfd(2) is what the keeper frees a hanging guest with; write-protection of anonymous
   * memory by userfaultfd is a little younger. */
  add (checks, (Finding){ .check = "kernel",
                          .ok = major > 5 || (major == 5 && minor >= 7),
                          .found = g_strdup_printf ("Linux %u.%u", major, minor),
                          .purpose = "userfaultfd write-protection and pidfd_getfd(2)",
                          .mend = "Linux 5.7 or newer" });
}

static void
check_memory (JsonArray *checks)
{
  guint64 available = host_memory_available();

  add (checks,
       (Finding){ .check = "memory",
                  .ok = available >= (G_GUINT64_CONSTANT (512) << 20),
                  .found = g_strdup_printf ("%" G_GUINT64_FORMAT " MiB available", available >> 20),
                  .purpose = "guests: each takes its RAM and about 64 MiB",
                  .mend = "at least 512 MiB of memory that is not in use" });
}

JsonArray *
qemu_doctor (const char *program)
{
  JsonArray *checks = json_array_new();

  check_qemu (checks, program != NULL ? program : "qemu-system-x86_64");
  check_userfaultfd (checks);
  check_kvm (checks);
  check_kernel (checks);
  check_memory (checks);
  return checks;
}
