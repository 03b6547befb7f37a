/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-state.h"

#include "vmstate-build.h"

#include <string.h>
#include <vmckpt/exchange/sink.h>

static GArray *
read_cpus (const VmStateBuild *build, GError **error)
{
  g_autoptr (GBytes) bytes = vmstate_build_bytes (build);
  g_autoptr (VmState) state = vmstate_new (bytes, error);

  return state != NULL ? cpu_states_new (state, error) : NULL;
}

static void
test_registers (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add_cpu (&build, 0, 5);
  g_autoptr (GArray) cpus = read_cpus (&build, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (cpus->len, ==, 1);
  const CpuState *cpu = &g_array_index (cpus, CpuState, 0);
  g_assert_cmpuint (cpu->regs[CPU_RAX], ==, 0x500);
  g_assert_cmpuint (cpu->regs[15], ==, 0x50f);
  g_assert_cmpuint (cpu->rip, ==, 0x510);
  g_assert_cmpuint (cpu->rflags, ==, 0x511);
  g_assert_cmpuint (cpu->segments[CPU_ES].base, ==, 0x520);
  g_assert_cmpuint (cpu->segments[CPU_GS].base, ==, 0x525);
  g_assert_cmpuint (cpu->segments[CPU_GS].selector, ==, 0x15);
  g_assert_cmpuint (cpu->segments[CPU_LDT].base, ==, 0x526);
  g_assert_cmpuint (cpu->segments[CPU_IDT].base, ==, 0x529);
  g_assert_cmpuint (cpu->segments[CPU_IDT].limit, ==, 0xffff);
  g_assert_cmpuint (cpu->segments[CPU_IDT].flags, ==, 0x93);
  g_assert_cmpuint (cpu->cr[0], ==, 0x530);
  g_assert_cmpuint (cpu->cr[1], ==, 0);
  g_assert_cmpuint (cpu->cr[4], ==, 0x533);
  g_assert_cmpuint (cpu->efer, ==, 0x534);
  g_assert_cmpuint (cpu->kernel_gs_base, ==, 0x535);
}

/* CPUs that were unplugged, or plugged in any order, leave gaps; none may be left out. */
static void
test_gaps_and_order (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add_cpu (&build, 7, 7);
  vmstate_build_add (&build, "cpu_common", 0, NULL, 0, "\"fields\": []");
  vmstate_build_add_cpu (&build, 1, 1);
  g_autoptr (GArray) cpus = read_cpus (&build, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (cpus->len, ==, 2);
  g_assert_cmpuint (g_array_index (cpus, CpuState, 0).index, ==, 1);
  g_assert_cmpuint (g_array_index (cpus, CpuState, 0).rip, ==, 0x110);
  g_assert_cmpuint (g_array_index (cpus, CpuState, 1).index, ==, 7);
}

static void
assert_refused (const VmStateBuild *build)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (read_cpus (build, &error));
  g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED);
}

/* A CPU with one field described otherwise: another width, another number, another name. */
static void
test_other_cpus (void)
{
  static const char *const changes[][2] = {
    { "\"env.regs\", \"size\": 8, \"array_len\": 16",
      "\"env.regs\", \"size\": 4, \"array_len\": 32" },
    { "\"env.regs\", \"size\": 8, \"array_len\": 16", "\"env.regs\", \"size\": 128" },
    { "env.eip", "env.pc" },
    { "\"env.segs\", \"size\": 20, \"array_len\": 6",
      "\"env.segs\", \"size\": 24, \"array_len\": 5" },
    { "\"env.segs\", \"size\": 20, \"array_len\": 6",
      "\"env.segs\", \"size\": 1, \"array_len\": 120" },
    { "\"selector\"", "\"selected\"" },
    { "env.gdt", "env.gd" },
    { "env.cr[4]", "env.cr[5]" },
    { "env.kernelgsbase", "env.kgsbase" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (changes); i++) {
    g_auto (VmStateBuild) build;
    vmstate_build_init (&build);
    vmstate_build_add_cpu (&build, 0, 1);
    g_assert_cmpuint (g_string_replace (build.devices, changes[i][0], changes[i][1], 0), >, 0);
    assert_refused (&build);
  }
}

static void
test_no_cpus (void)
{
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  assert_refused (&build);
  vmstate_build_add (&build, "cpu_common", 0, NULL, 0, "\"fields\": []");
  assert_refused (&build);
  vmstate_build_add (&build, "cpu", 0, NULL, 0, "\"fields\": []");
  assert_refused (&build);
}

/* Of real machines of QEMU 7.2 and 10.0, stopped soon after their start. */
static void
test_real (void)
{
  static const char *const names[] = { "microvm-7.2", "microvm-10.0" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *path =
        g_test_build_filename (G_TEST_DIST, "..", "fuzz", "corpus", "vmstate", names[i], NULL);
    g_autofree char *contents = NULL;
    gsize len;
    g_assert_true (g_file_get_contents (path, &contents, &len, &error));
    g_autoptr (GBytes) bytes = g_bytes_new (contents, len);
    g_autoptr (VmState) state = vmstate_new (bytes, &error);
    g_assert_no_error (error);
    g_autoptr (GArray) cpus = cpu_states_new (state, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (cpus->len, ==, 1);
    g_assert_cmpuint (g_array_index (cpus, CpuState, 0).cr[0] & 0x10, ==, 0x10); /* ET is fixed */
    g_assert_cmpuint (g_array_index (cpus, CpuState, 0).rflags & 2, ==, 2);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu-state/registers", test_registers);
  g_test_add_func ("/cpu-state/gaps", test_gaps_and_order);
  g_test_add_func ("/cpu-state/other", test_other_cpus);
  g_test_add_func ("/cpu-state/none", test_no_cpus);
  g_test_add_func ("/cpu-state/real", test_real);
  return g_test_run();
}
