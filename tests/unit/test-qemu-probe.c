/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking a QEMU program, and completing a spec with its answers. */
#include "tiny-guest.h"

#include <vmckpt/drivers/kvm.h>

#include <string.h>

static void
test_probe (void)
{
  g_auto (QemuProbe) probe = { 0 };
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_probe ("qemu-system-x86_64", &probe, &error);
  g_assert_no_error (error);
  g_assert_true (g_path_is_absolute (probe.program));
  g_assert_cmpuint (probe.major, >=, 6);
  g_assert_cmpint (probe.kvm, ==, kvm_usable (NULL));
}

/* A path that leads nowhere, a program that is no QEMU, and one that says nothing. */
static void
test_wrong_programs (void)
{
  g_auto (QemuProbe) probe = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_false (qemu_probe ("/no/such/qemu", &probe, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (qemu_probe ("no-such-qemu", &probe, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (qemu_probe ("ls", &probe, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (qemu_probe ("true", &probe, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED);
}

static GuestSpec *
tcg_spec (const char *extra)
{
  GuestSpec *spec = guest_spec_new ("g1");

  g_free (spec->accel);
  spec->accel = g_strdup ("tcg");
  if (extra != NULL) {
    g_strfreev (spec->extra);
    spec->extra = g_strsplit (extra, " ", 0);
  }
  return spec;
}

static void
test_complete (void)
{
  g_autoptr (GuestSpec) spec = tcg_spec (NULL);
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_spec_complete (spec, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_str_has_prefix (spec->machine, "pc-q35-"));
  g_assert_true (g_path_is_absolute (spec->qemu));
  g_assert_cmpstr (spec->cpu, ==, "qemu64-v1");
  g_assert_true (g_uuid_string_is_valid (spec->uuid));
  g_assert_true (g_uuid_string_is_valid (spec->genid));

  /* Completing what is complete changes nothing. */
  g_autoptr (GuestSpec) copy = guest_spec_copy (spec);
  qemu_spec_complete (copy, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (copy->machine, ==, spec->machine);
  g_assert_cmpstr (copy->uuid, ==, spec->uuid);
  g_assert_cmpstr (copy->genid, ==, spec->genid);
}

/* "auto" means what the probe says. */
static void
test_complete_accel (void)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g1");
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_spec_complete (spec, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (spec->accel, ==, kvm_usable (NULL) ? "kvm" : "tcg");
  if (kvm_usable (NULL))
    return;
  g_free (spec->accel);
  spec->accel = g_strdup ("kvm");
  g_assert_false (qemu_spec_complete (spec, NULL, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
}

/* RAM that its arguments make is the guest's own; other memory is nobody's business. */
static void
test_complete_memory (void)
{
  g_autoptr (GuestSpec) own = tcg_spec ("-mem-path /x -numa node,memdev=m0");
  g_autoptr (GuestSpec) other = tcg_spec ("-object memory-backend-ram,size=1G,id=dimm0");
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  own->memory = MEMORY_PRIVATE;
  qemu_spec_complete (own, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (qemu_spec_shares_memory (own));
  qemu_spec_complete (other, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (qemu_spec_shares_memory (other));
  g_assert_cmpstr (other->ram_id, ==, "pc.ram");
}

/* "max" becomes the features that it stands for, also when it comes among the extra arguments, and
 * QEMU takes that as a model. */
static void
test_complete_cpu (void)
{
  g_autoptr (GuestSpec) spec = tcg_spec ("-device virtio-rng --cpu max");
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  qemu_spec_complete (spec, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_str_has_prefix (spec->cpu, "base,"));
  g_assert_nonnull (strstr (spec->cpu, "sse4.2=on"));
  g_assert_cmpuint (g_strv_length (spec->extra), ==, 2);
  qemu_spec_complete (spec, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_refused (GuestSpec *made, DriverError code, const char *names)
{
  g_autoptr (GuestSpec) spec = made;
  g_autoptr (GError) error = NULL;

  g_assert_false (qemu_spec_complete (spec, NULL, &error));
  g_assert_error (error, DRIVER_ERROR, (int)code);
  if (strstr (error->message, names) == NULL)
    g_error ("should name %s: %s", names, error->message);
}

static void
test_refused (void)
{
  GuestSpec *spec;

  if (skip_without_qemu())
    return;
  assert_refused (tcg_spec ("-m 5G"), DRIVER_ERROR_INVALID, "-m");
  assert_refused (tcg_spec ("--daemonize"), DRIVER_ERROR_INVALID, "--daemonize");
  assert_refused (tcg_spec ("-mem-path /x"), DRIVER_ERROR_INVALID, "-mem-path");
  assert_refused (tcg_spec ("-numa node,memdev=m0"), DRIVER_ERROR_INVALID, "--memory private");
  assert_refused (tcg_spec ("-object memory-backend-ram,size=1G,id=pc.ram"), DRIVER_ERROR_INVALID,
                  "id=pc.ram");
  assert_refused (tcg_spec ("-cpu no-such-cpu"), DRIVER_ERROR_INVALID, "no-such-cpu");
  spec = tcg_spec (NULL);
  g_free (spec->machine);
  spec->machine = g_strdup ("no-such-machine");
  assert_refused (spec, DRIVER_ERROR_INVALID, "no-such-machine");
  spec = tcg_spec (NULL);
  spec->kernel = g_strdup ("/no/such/kernel");
  assert_refused (spec, DRIVER_ERROR_NOT_FOUND, "/no/such/kernel");
  spec = tcg_spec (NULL);
  g_ptr_array_add (spec->disks, guest_disk_parse ("/no/such/disk,shared", NULL));
  assert_refused (spec, DRIVER_ERROR_NOT_FOUND, "/no/such/disk");
}

static void
test_cpuinfo (void)
{
  g_assert_true (kvm_cpuinfo_has_extension ("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
  g_assert_true (kvm_cpuinfo_has_extension ("flags\t\t: fpu svm\n"));
  g_assert_false (kvm_cpuinfo_has_extension ("flags\t\t: fpu svm_lock\nbugs\t\t: vmx\n"));
  g_assert_false (kvm_cpuinfo_has_extension (""));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qemu-probe/probe", test_probe);
  g_test_add_func ("/qemu-probe/wrong-programs", test_wrong_programs);
  g_test_add_func ("/qemu-probe/complete", test_complete);
  g_test_add_func ("/qemu-probe/complete-accel", test_complete_accel);
  g_test_add_func ("/qemu-probe/complete-memory", test_complete_memory);
  g_test_add_func ("/qemu-probe/complete-cpu", test_complete_cpu);
  g_test_add_func ("/qemu-probe/refused", test_refused);
  g_test_add_func ("/qemu-probe/cpuinfo", test_cpuinfo);
  return g_test_run();
}
