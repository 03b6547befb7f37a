/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tiny-guest.h"

#include "writer-kinds.h"

#include <vmckpt/util/fd.h>

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

static void
test_kinds (void)
{
  g_assert_cmpint (writers_of_device ("vfio-pci"), ==, WRITERS_FREE);
  g_assert_cmpint (writers_of_device ("vfio-user-pci"), ==, WRITERS_FREE);
  g_assert_cmpint (writers_of_device ("vhost-user-fs-pci"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_device ("vhost-vdpa-device-pci"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_device ("vhost-scsi-pci"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_device ("scsi-block"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_device ("scsi-hd"), ==, WRITERS_NONE);
  g_assert_cmpint (writers_of_device ("vhost-vsock-pci"), ==, WRITERS_NONE);
  g_assert_cmpint (writers_of_device ("virtio-blk-pci"), ==, WRITERS_NONE);
  g_assert_cmpint (writers_of_network ("vhost-vdpa"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_network ("tap"), ==, WRITERS_NONE);
  g_assert_cmpint (writers_of_block ("nvme"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_block ("virtio-blk-vfio-pci"), ==, WRITERS_STOP);
  g_assert_cmpint (writers_of_block ("file"), ==, WRITERS_NONE);
}

static void
collect (const char *name, const char *type, gpointer text)
{
  g_string_append_printf (text, "%s=%s ", name, type);
}

static void
test_network_text (void)
{
  /* As QEMU 7.2 prints it. */
  static const char *const text =
      "vn0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r\n"
      " \\ n0: index=0,type=vhost-user,vhost-user to c0\r\n"
      "hub 0\r\n"
      " \\ hub0port0: #net1: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
      "nonsense\r\n"
      ",type=: x\r\n";
  g_autoptr (GString) found = g_string_new (NULL);

  writers_parse_network (text, collect, found);
  g_assert_cmpstr (found->str, ==, "vn0=nic n0=vhost-user hub0port0=user ");
}

/* Starts the guest with these arguments and asks it. */
static ForeignWriters
ask (TinyGuest *guest, const char *arguments, char **reason)
{
  g_autoptr (GError) error = NULL;
  ForeignWriters writers;

  g_strfreev (guest->spec->extra);
  guest->spec->extra = g_strsplit (arguments, " ", -1);
  tiny_guest_start (guest, FALSE);
  qemu_foreign_writers (guest->qemu.monitor, &writers, reason, &error);
  g_assert_no_error (error);
  return writers;
}

static void
test_plain_guest (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autofree char *reason = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_assert_cmpint (
      ask (&guest, "-netdev user,id=n0 -device virtio-net-pci,netdev=n0 -device virtio-rng-pci",
           &reason),
      ==, WRITERS_NONE);
  g_assert_null (reason);
}

/* ---- A back end that shakes hands and offers nothing ---- */

typedef struct {
  guint32 request, flags, size;
} Header;

#define GET_FEATURES 1
#define REPLY_FLAGS 5 /* version 1, a reply */

static gpointer
serve_vhost_user (gpointer data)
{
  g_auto (AutoFd) listener = GPOINTER_TO_INT (data);
  g_auto (AutoFd) fd = accept (listener, NULL, NULL);
  Header header;

  while (fd >= 0 && fd_read_full (fd, &header, sizeof header, NULL) == sizeof header) {
    guint8 payload[4096];
    struct {
      Header header;
      guint64 value;
    } __attribute__ ((packed)) reply = { { header.request, REPLY_FLAGS, sizeof (guint64) }, 0 };
    if (header.size > sizeof payload ||
        fd_read_full (fd, payload, header.size, NULL) != (gssize)header.size)
      break;
    if (header.request == GET_FEATURES)
      fd_write_full (fd, &reply, sizeof reply, NULL);
  }
  return NULL;
}

static void
test_vhost_user (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autofree char *reason = NULL;
  g_autoptr (GError) error = NULL;
  GThread *thread;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_autofree char *path = g_build_filename (guest.parent, "vu", NULL);
  int listener = fd_listen_unix (path, &error);
  g_assert_no_error (error);
  thread = g_thread_new ("back end", serve_vhost_user, GINT_TO_POINTER (listener));
  g_autofree char *arguments =
      g_strdup_printf ("-chardev socket,id=c0,path=%s -netdev vhost-user,id=n0,chardev=c0 "
                       "-device virtio-net-pci,netdev=n0",
                       path);
  /* This test's guests are started without the descriptors of shared memory. */
  guest.spec->memory = MEMORY_PRIVATE;
  g_assert_cmpint (ask (&guest, arguments, &reason), ==, WRITERS_STOP);
  g_assert_nonnull (strstr (reason, "n0 (vhost-user)"));
  qemu_end (guest.directory, guest.qemu.monitor, NULL);
  g_thread_join (thread);
  g_unlink (path);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/foreign-writers/kinds", test_kinds);
  g_test_add_func ("/foreign-writers/network-text", test_network_text);
  g_test_add_func ("/foreign-writers/plain-guest", test_plain_guest);
  g_test_add_func ("/foreign-writers/vhost-user", test_vhost_user);
  return g_test_run();
}
