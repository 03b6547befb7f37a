/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest of another host may have here, and what it may not. */
#include "peer-spec.h"

#include "api-error.h"

#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char *top, *files, *inside, *outside, *qemu, *link;
} Place;

static char *
make_file (const char *top, const char *name, int mode)
{
  char *path = g_build_filename (top, name, NULL);

  g_assert_true (g_file_set_contents (path, "#!/bin/sh\n", -1, NULL));
  g_assert_cmpint (chmod (path, mode), ==, 0);
  return path;
}

static void
set_up (Place *place, gconstpointer data)
{
  place->top = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  place->files = g_build_filename (place->top, "files", NULL);
  g_assert_cmpint (g_mkdir (place->files, 0700), ==, 0);
  place->inside = make_file (place->files, "disk", 0600);
  place->outside = make_file (place->top, "files-of-others", 0600);
  place->qemu = make_file (place->top, "qemu-system-x86_64", 0700);
  place->link = g_build_filename (place->files, "link", NULL);
  g_assert_cmpint (symlink (place->outside, place->link), ==, 0);
}

static void
tear_down (Place *place, gconstpointer data)
{
  char *const paths[] = { place->link, place->inside, place->outside,
                          place->qemu, place->files,  place->top };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    g_remove (paths[i]);
    g_free (paths[i]);
  }
}

static gboolean
may_have (Place *place, const char *path)
{
  return peer_path_check (place->files, "file", path, NULL);
}

static void
test_paths (Place *place, gconstpointer data)
{
  g_autofree char *new = g_build_filename (place->files, "new", NULL);
  g_autofree char *up = g_build_filename (place->files, "..", "files-of-others", NULL);
  g_autofree char *nowhere = g_build_filename (place->files, "no", "new", NULL);
  g_autofree char *dangling = g_build_filename (place->files, "dangling", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (may_have (place, place->inside));
  g_assert_true (may_have (place, new));
  g_assert_false (may_have (place, place->outside));
  g_assert_false (may_have (place, place->link));
  g_assert_false (may_have (place, up));
  g_assert_false (may_have (place, nowhere));
  g_assert_false (may_have (place, "disk"));
  g_assert_false (may_have (place, ""));
  g_assert_cmpint (symlink ("/nowhere", dangling), ==, 0);
  g_assert_false (may_have (place, dangling));
  g_remove (dangling);
  g_assert_false (peer_path_check (place->files, "kernel", "/etc/passwd", &error));
  g_assert_error (error, API_ERROR, API_NOT_POSSIBLE);
  g_assert_nonnull (strstr (error->message, "kernel '/etc/passwd'"));
  g_assert_true (peer_path_check (PEER_FILES_ANY, "kernel", "/etc/passwd", NULL));
  g_assert_false (peer_path_check ("", "kernel", "/etc/passwd", NULL));
}

/* Of a guest with that program and JSON members besides. */
static gboolean
may_run (Place *place, const char *qemu, const char *members)
{
  g_autofree char *text = g_strdup_printf ("{\"name\":\"g\",\"qemu\":\"%s\"%s}", qemu, members);
  g_autoptr (JsonNode) node = json_from_string (text, NULL);
  g_autoptr (GuestSpec) spec = guest_spec_from_json (json_node_get_object (node), NULL);

  g_assert_nonnull (spec);
  return peer_spec_check (place->files, spec, NULL, NULL);
}

static void
test_program (Place *place, gconstpointer data)
{
  g_autofree char *link = g_build_filename (place->top, "qemu-system-sh", NULL);

  g_assert_true (may_run (place, place->qemu, ""));
  g_assert_false (may_run (place, "/bin/sh", ""));
  g_assert_false (may_run (place, "sh", ""));
  g_assert_false (may_run (place, "/nowhere/qemu-system-x86_64", ""));
  g_assert_cmpint (symlink ("/bin/sh", link), ==, 0);
  g_assert_false (may_run (place, link, ""));
  g_remove (link);
  g_assert_cmpint (chmod (place->qemu, 0722), ==, 0);
  g_assert_false (may_run (place, place->qemu, ""));
}

static void
test_arguments (Place *place, gconstpointer data)
{
  static const char *const good[] = {
    "\"-nic\",\"none\"",
    "\"-netdev\",\"user,id=n\",\"-device\",\"virtio-net-pci,netdev=n,romfile=\"",
    "\"-netdev\",\"tap,id=n,ifname=t0,script=no,downscript=no\"",
    "\"--device\",\"virtio-rng-pci\"",
    "\"-nodefaults\",\"-smp\",\"2,sockets=2\"",
    "",
  };
  static const char *const bad[] = {
    "\"-netdev\",\"tap,id=n,script=/tmp/x\"",
    "\"-netdev\",\"user,id=n,smb=/\"",
    "\"-netdev\",\"user,id=n,guestfwd=tcp:10.0.2.100:1-cmd:id\"",
    "\"-netdev\",\"{'type':'user','id':'n'}\"",
    "\"-nic\",\"user,,smb=/\"",
    "\"-device\",\"loader,file=/etc/shadow\"",
    "\"-device\",\"vfio-pci,host=0:0.0\"",
    "\"-device\",\"virtio-net-pci,romfile=/etc/shadow\"",
    "\"-device\",\"virtio-net-pci,driver=loader\"",
    "\"-chardev\",\"file,id=c,path=/etc/cron.d/x\"",
    "\"-drive\",\"file=/dev/sda\"",
    "\"-readconfig\",\"/etc/x\"",
    "\"-boot\",\"splash=x\"",
    "\"-virtfs\",\"local,path=/\"",
    "\"-nographic\",\"x\"",
    "\"-device\"",
    "\"/etc/shadow\"",
    "\"\"",
  };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autofree char *members = g_strdup_printf (",\"extra\":[%s]", good[i]);
    g_test_message ("%s", good[i]);
    g_assert_true (may_run (place, place->qemu, members));
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autofree char *members = g_strdup_printf (",\"extra\":[%s]", bad[i]);
    g_test_message ("%s", bad[i]);
    g_assert_false (may_run (place, place->qemu, members));
  }
}

static void
test_files (Place *place, gconstpointer data)
{
  g_autofree char *disk = g_strdup_printf (",\"disks\":[\"%s\"]", place->inside);
  g_autofree char *behind = g_strdup_printf (
      ",\"disks\":[{\"path\":\"%s\",\"format\":\"qcow2\",\"backing\":[{\"path\":\"/etc/shadow\","
      "\"format\":\"raw\"}]}]",
      place->inside);

  g_assert_true (may_run (place, place->qemu, disk));
  g_assert_false (may_run (place, place->qemu, behind));
  g_assert_false (may_run (place, place->qemu, ",\"disks\":[\"/dev/null\"]"));
  g_assert_false (may_run (place, place->qemu, ",\"kernel\":\"/etc/passwd\""));
  g_assert_true (may_run (place, place->qemu, ",\"disks\":[\"nbd://10.0.0.1/x,format=raw\"]"));
  g_assert_false (
      may_run (place, place->qemu, ",\"disks\":[\"nbd+unix:///x?socket=/run/x,format=raw\"]"));
  g_assert_true (may_run (place, place->qemu, ",\"firmware\":\"/usr/share/x\""));
  g_assert_false (may_run (place, place->qemu, ",\"nvram\":\"/usr/share/x\""));
  g_assert_false (
      may_run (place, place->qemu, ",\"driver\":\"libvirt\",\"uri\":\"qemu:///system\""));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/peer-spec/paths", Place, NULL, set_up, test_paths, tear_down);
  g_test_add ("/peer-spec/program", Place, NULL, set_up, test_program, tear_down);
  g_test_add ("/peer-spec/arguments", Place, NULL, set_up, test_arguments, tear_down);
  g_test_add ("/peer-spec/files", Place, NULL, set_up, test_files, tear_down);
  return g_test_run();
}
