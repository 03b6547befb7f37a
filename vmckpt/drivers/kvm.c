/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/kvm.h>

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

gboolean
kvm_cpuinfo_has_extension (const char *cpuinfo)
{
  g_auto (GStrv) lines = g_strsplit (cpuinfo, "\n", 0);

  for (gsize i = 0; lines[i] != NULL; i++) {
    if (!g_str_has_prefix (lines[i], "flags"))
      continue;
    g_auto (GStrv) words = g_strsplit_set (lines[i], " \t:", 0);
    return g_strv_contains ((const char *const *)words, "vmx") ||
           g_strv_contains ((const char *const *)words, "svm");
  }
  return FALSE;
}

gboolean
kvm_usable (char **reason)
{
  g_auto (AutoFd) kvm = open ("/dev/kvm", O_RDWR | O_CLOEXEC);
  g_auto (AutoFd) machine = -1;
  g_autofree char *cpuinfo = NULL;
  g_autofree char *why = NULL;

  if (kvm < 0)
    why = g_strdup_printf ("/dev/kvm: %s", g_strerror (errno));
  else if (!g_file_get_contents ("/proc/cpuinfo", &cpuinfo, NULL, NULL) ||
           !kvm_cpuinfo_has_extension (cpuinfo))
    why = g_strdup ("/dev/kvm is there, but the processor has neither VMX nor SVM: stock kernels "
                    "do not boot on such a KVM");
  else if ((machine = ioctl (kvm, KVM_CREATE_VM, 0)) < 0)
    why = g_strdup_printf ("/dev/kvm makes no virtual machine: %s", g_strerror (errno));

  gboolean usable = why == NULL;
  if (reason != NULL)
    *reason = g_steal_pointer (&why);
  return usable;
}
