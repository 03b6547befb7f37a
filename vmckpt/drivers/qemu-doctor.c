/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host can do and what is missing for the rest. */
#include <vmckpt/drivers/kvm.h>
#include <vmckpt/drivers/qemu.h>

#include "host.h"

#include <dlfcn.h>
#include <string.h>

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
  if (!there)
    return;
  /* Older ones lose what a guest writes meanwhile: vmckpt/unit/live-migration.c refuses that. */
  gboolean moves = probe.kvm || probe.major >= 9;
  add (checks, (Finding){ .check = "live-migration",
                          .ok = moves,
                          .found = g_strdup (
                              moves ? "guests can be moved while they run"
                                    : "without KVM, this QEMU loses what a guest writes while "
                                      "its memory is sent"),
                          .purpose = "moving guests by QEMU's own migration",
                          .mend = moves ? "" : "QEMU 9 or newer, or migrate --via-store" });
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

/* The first line that a program says of itself; NULL: it is not there. */
static char *
first_line (const char *program, const char *argument)
{
  const char *const argv[] = { program, argument, NULL };
  g_autofree char *output = NULL;
  int status;

  if (!g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL, NULL, &output, NULL, &status, NULL) ||
      !g_spawn_check_wait_status (status, NULL))
    return NULL;
  output[strcspn (output, "\n")] = '\0';
  return g_utf8_make_valid (output, -1);
}

/* TRUE if the first "N.N" in @text is at least that. */
static gboolean
has_version (const char *text, guint major, guint minor)
{
  const char *digits = strpbrk (text, "0123456789");
  guint64 found = digits != NULL ? g_ascii_strtoull (digits, (char **)&digits, 10) : 0;

  if (digits == NULL || *digits != '.')
    return FALSE;
  return found > major || (found == major && g_ascii_strtoull (digits + 1, NULL, 10) >= minor);
}

/* Programs that are started for disks and TPMs. */
static const struct {
  const char *program;
  guint major, minor; /* at least */
  const char *purpose;
  const char *mend;
} programs[] = {
  { "qemu-img", 6, 0, "disks with images behind them (qcow2), and restored disks",
    "install qemu-utils of version 6.0 or newer" },
  { "nbdkit", 1, 32, "restored disks that are there at once, and serving disks",
    "install nbdkit 1.32 or newer; without it disks are restored with --eager" },
  { "swtpm", 0, 7, "guests with a TPM", "install swtpm 0.7 or newer" },
};

static void
check_programs (JsonArray *checks)
{
  for (guint i = 0; i < G_N_ELEMENTS (programs); i++) {
    char *line = first_line (programs[i].program, "--version");
    gboolean ok = line != NULL && has_version (line, programs[i].major, programs[i].minor);
    add (checks, (Finding){ .check = programs[i].program,
                            .ok = ok,
                            .found = line != NULL ? line : g_strdup ("it is not in PATH"),
                            .purpose = programs[i].purpose,
                            .mend = programs[i].mend });
  }
}

/* Libraries of programs that are installed apart. */
static const struct {
  const char *check, *file, *purpose, *mend;
} libraries[] = {
  { "libnbd", "libnbd.so.0", "disks in checkpoints", "install libnbd0" },
  { "libguestfs", "libguestfs.so.0", "looking inside disks: inspect, diff --files, check --fs",
    "install libguestfs0 and its appliance" },
};

static void
check_libraries (JsonArray *checks)
{
  for (guint i = 0; i < G_N_ELEMENTS (libraries); i++) {
    /* Not unloaded again: what a library has set up at its start would be lost each time. */
    void *library = dlopen (libraries[i].file, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    add (checks,
         (Finding){ .check = libraries[i].check,
                    .ok = library != NULL,
                    .found = g_strdup_printf ("%s %s", libraries[i].file,
                                              library != NULL ? "is there" : "is not there"),
                    .purpose = libraries[i].purpose,
                    .mend = libraries[i].mend });
    if (library != NULL)
      dlclose (library);
  }
}

static void
check_firmware (JsonArray *checks)
{
  static const char *const files[] = { "/usr/share/OVMF/OVMF_CODE_4M.fd",
                                       "/usr/share/OVMF/OVMF_CODE.fd",
                                       "/usr/share/edk2/ovmf/OVMF_CODE.fd",
                                       "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
                                       "/usr/share/qemu/edk2-x86_64-code.fd" };
  const char *found = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (files) && found == NULL; i++)
    if (g_file_test (files[i], G_FILE_TEST_IS_REGULAR))
      found = files[i];
  add (checks, (Finding){ .check = "ovmf",
                          .ok = found != NULL,
                          .found = g_strdup (found != NULL ? found : "no UEFI firmware"),
                          .purpose = "guests that boot by UEFI (--firmware)",
                          .mend = "install ovmf, or name a firmware with --firmware" });
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
  check_programs (checks);
  check_libraries (checks);
  check_firmware (checks);
  return checks;
}
