/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "extra-disks.h"

#include <string.h>

static char *
find (const char *line)
{
  g_auto (GStrv) extra = g_strsplit (line, " ", 0);

  return extra_disks_find ((const char *const *)extra);
}

static void
test_written (void)
{
  static const struct {
    const char *line, *instead;
  } written[] = {
    { "-drive file=/a,format=raw", "--disk '/a'" },
    { "-device x --drive if=virtio,file=/a,,b,readonly=off", "--disk '/a,b'" },
    { "-drive file=/a,snapshot=on", "--disk '/a'" },
    { "-drive if=none,id=d,file.driver=file,file.filename=/a", "--disk '/a'" },
    { "-blockdev driver=file,node-name=f,filename=/a", "--disk '/a'" },
    { "-blockdev {\"driver\":\"file\",\"filename\":\"/a\",\"node-name\":\"f\"}", "--disk 'FILE'" },
    { "-blockdev {\"driver\":", "--disk 'FILE'" },
    { "-blockdev driver=raw,node-name=d,file=f", "--disk" },
    { "-hda /a", "--disk '/a'" },
    { "-drive file=null-and-void", "--disk 'null-and-void'" },
    { "--pflash /a", "'/a,exclude'" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (written); i++) {
    g_autofree char *text = find (written[i].line);
    if (text == NULL || strstr (text, written[i].instead) == NULL)
      g_error ("%s: should say %s: %s", written[i].line, written[i].instead,
               text != NULL ? text : "nothing");
  }
}

static void
test_harmless (void)
{
  static const char *const harmless[] = {
    "",
    "-drive",
    "-drive if=none,id=d,format=raw,readonly=on,cache=none,file=/a",
    "-drive media=cdrom,file=/a",
    "-drive if=floppy",
    "-drive file=null-co://,if=virtio",
    "-blockdev driver=file,filename=/a,node-name=a,read-only=on",
    "-blockdev {\"driver\":\"file\",\"filename\":\"/a\",\"node-name\":\"f\",\"read-only\":true}",
    "-blockdev {\"driver\":\"null-co\",\"node-name\":\"f\"}",
    "-cdrom /a",
    "-device virtio-blk-pci,drive=d",
    "-name hda /a",
  };

  for (guint i = 0; i < G_N_ELEMENTS (harmless); i++) {
    g_autofree char *text = find (harmless[i]);
    if (text != NULL)
      g_error ("%s: %s", harmless[i], text);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/extra-disks/written", test_written);
  g_test_add_func ("/extra-disks/harmless", test_harmless);
  return g_test_run();
}
