/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

guint64
host_parse_memory (const char *meminfo)
{
  const char *line = strstr (meminfo, "MemAvailable:");

  return line != NULL ? g_ascii_strtoull (line + strlen ("MemAvailable:"), NULL, 10) * 1024 : 0;
}

guint64
host_memory_available (void)
{
  g_autofree char *meminfo = NULL;

  if (!g_file_get_contents ("/proc/meminfo", &meminfo, NULL, NULL))
    return 0;
  return host_parse_memory (meminfo);
}

void
host_kernel_version (guint *major, guint *minor)
{
  struct utsname name;

  *major = *minor = 0;
  if (uname (&name) == 0 && sscanf (name.release, "%u.%u", major, minor) != 2)
    *major = *minor = 0;
}

gboolean
host_has_userfaultfd (char **reason)
{
  g_auto (AutoFd) fd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  int code = errno;
  g_autofree char *text = NULL;

  if (fd < 0) {
    g_auto (AutoFd) device = open ("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    *reason = device >= 0 ? g_strdup ("/dev/userfaultfd may be opened")
                          : g_strdup_printf ("userfaultfd(2): %s", g_strerror (code));
    return device >= 0;
  }
  g_file_get_contents ("/proc/sys/vm/unprivileged_userfaultfd", &text, NULL, NULL);
  *reason = g_strdup (text != NULL && text[0] == '1' ? "vm.unprivileged_userfaultfd is 1"
                                                     : "this process has CAP_SYS_PTRACE");
  return TRUE;
}
