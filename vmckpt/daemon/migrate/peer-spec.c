/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer-spec.h"

#include "api-error.h"

#include <vmckpt/util/error.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRMWARE_FILES "/usr/share"
#define QEMU_PREFIX "qemu-system-"

static gboolean refuse (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
refuse (GError **error, const char *format, ...)
{
  va_list values;

  va_start (values, format);
  g_autofree char *text = g_strdup_vprintf (format, values);
  va_end (values);
  g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
               "%s, which a guest of another host may not have here: see vmckptd --guest-files",
               text);
  return FALSE;
}

/* ---- Files ---- */

/* @path without links; of one that is not there, its directory's. NULL: that is not there. */
static char *
real_path (const char *path)
{
  g_autofree char *canonical = g_canonicalize_filename (path, "/");
  char *real = realpath (canonical, NULL);

  if (real != NULL)
    return real;
  /* A link to what is not there could lead anywhere. */
  if (g_file_test (canonical, G_FILE_TEST_IS_SYMLINK))
    return NULL;
  g_autofree char *directory = g_path_get_dirname (canonical);
  g_autofree char *last = g_path_get_basename (canonical);
  g_autofree char *parent = realpath (directory, NULL);
  return parent != NULL ? g_build_filename (parent, last, NULL) : NULL;
}

static gboolean
is_in (const char *path, const char *directory)
{
  g_autofree char *real = *directory == '/' ? realpath (directory, NULL) : NULL;

  return real != NULL && g_str_has_prefix (path, real) &&
         (path[strlen (real)] == '/' || g_str_equal (real, "/"));
}

gboolean
peer_path_check (const char *files, const char *what, const char *path, GError **error)
{
  g_auto (GStrv) directories = g_strsplit (files, ":", -1);
  g_autofree char *real = NULL;

  if (g_str_equal (files, PEER_FILES_ANY))
    return TRUE;
  real = *path == '/' ? real_path (path) : NULL;
  for (guint i = 0; real != NULL && directories[i] != NULL; i++)
    if (is_in (real, directories[i]))
      return TRUE;
  return refuse (error, "%s '%s' is not in one of '%s'", what, path, files);
}

static gboolean
check_image (const char *files, const GuestDisk *disk, const char *path, DiskStorage storage,
             GError **error)
{
  gboolean firmware = disk->bus == DISK_BUS_PFLASH && disk->mode == DISK_READONLY;
  g_autofree char *where = firmware ? g_strconcat (files, ":" FIRMWARE_FILES, NULL) : NULL;

  if (!disk_path_is_nbd (path))
    return peer_path_check (where != NULL ? where : files, "disk", path, error);
  /* An export on a network is no file of this host; a socket is. */
  return g_str_has_prefix (path, "nbd://") || refuse (error, "disk '%s' is a local socket", path);
}

static gboolean
check_disk (const char *files, const GuestDisk *disk, gboolean moved, GError **error)
{
  if (!moved && disk->path != NULL && !check_image (files, disk, disk->path, disk->storage, error))
    return FALSE;
  for (guint i = 0; !moved && i < disk->backing->len; i++) {
    const DiskLayer *layer = disk->backing->pdata[i];
    if (!check_image (files, disk, layer->path, layer->storage, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- Program ---- */

/* Others than root could have put there what they like. */
static gboolean
check_program (const char *named, GError **error)
{
  g_autofree char *found = g_find_program_in_path (named);
  g_autofree char *real = found != NULL ? realpath (found, NULL) : NULL;
  g_autofree char *last = real != NULL ? g_path_get_basename (real) : NULL;
  struct stat status;

  if (real == NULL)
    return refuse (error, "program '%s' is not here", named);
  if (!g_str_has_prefix (last, QEMU_PREFIX) || stat (real, &status) < 0 ||
      !S_ISREG (status.st_mode) || (status.st_uid != 0 && status.st_uid != geteuid()) ||
      (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return refuse (error, "program '%s' is no QEMU that belongs to root alone", named);
  return TRUE;
}

/* ---- Arguments ---- */

/* Devices that are in the guest alone. */
static const char *const devices[] = {
  "AC97",
  "e1000",
  "e1000e",
  "ES1370",
  "hda-duplex",
  "hda-output",
  "i6300esb",
  "ich9-intel-hda",
  "ich9-usb-ehci1",
  "intel-hda",
  "isa-debug-exit",
  "nec-usb-xhci",
  "pci-bridge",
  "pcie-pci-bridge",
  "pcie-root-port",
  "pvpanic",
  "pvpanic-pci",
  "pxb-pcie",
  "qemu-xhci",
  "qxl-vga",
  "rtl8139",
  "usb-ehci",
  "usb-kbd",
  "usb-mouse",
  "usb-tablet",
  "VGA",
  "virtio-balloon",
  "virtio-balloon-pci",
  "virtio-gpu-pci",
  "virtio-keyboard-pci",
  "virtio-mouse-pci",
  "virtio-net",
  "virtio-net-pci",
  "virtio-rng-pci",
  "virtio-scsi-pci",
  "virtio-serial-pci",
  "virtio-tablet-pci",
  "virtio-vga",
  "vmcoreinfo",
  "vmgenid",
  NULL,
};

/* Without what names a file, a program, a port or a descriptor of the host. */
static const char *const networks[] = { "user", "tap", "bridge", "none", NULL };
static const char *const network_keys[] = {
  "id", "type",   "model",    "mac",  "net",  "host",   "dns",        "dhcpstart", "hostname",
  "br", "ifname", "restrict", "ipv4", "ipv6", "queues", "domainname", "netdev",    NULL,
};

/* Options of one word; NULL at the end. */
static const char *const plain[] = { "smp", "rtc", "vga", "boot", NULL };
static const char *const alone[] = { "nodefaults", "no-hpet", "no-user-config", "nographic", NULL };

/* "KEY" of "KEY=VALUE"; newly allocated. */
static char *
key_of (const char *item)
{
  return g_strndup (item, strcspn (item, "="));
}

static gboolean
check_device (char **items)
{
  if (!g_strv_contains (devices, g_str_has_prefix (items[0], "driver=")
                                     ? items[0] + strlen ("driver=")
                                     : items[0]))
    return FALSE;
  for (guint i = 1; items[i] != NULL; i++) {
    g_autofree char *key = key_of (items[i]);
    if (strchr (items[i], '/') != NULL || g_str_equal (key, "driver") ||
        (g_str_equal (key, "romfile") && !g_str_equal (items[i], "romfile=")))
      return FALSE;
  }
  return TRUE;
}

static gboolean
check_network (char **items)
{
  const char *type = g_str_has_prefix (items[0], "type=") ? items[0] + strlen ("type=") : items[0];

  if (!g_strv_contains (networks, type))
    return FALSE;
  for (guint i = 1; items[i] != NULL; i++) {
    g_autofree char *key = key_of (items[i]);
    gboolean known = g_strv_contains (network_keys, key) && !g_str_equal (key, "type") &&
                     (strchr (items[i], '/') == NULL || g_str_equal (key, "net"));
    if (!known && !g_str_equal (items[i], "script=no") && !g_str_equal (items[i], "downscript=no"))
      return FALSE;
  }
  return TRUE;
}

/* @value: of the option @name, without its dashes. JSON and doubled commas are not looked into. */
static gboolean
check_argument (const char *name, const char *value)
{
  g_auto (GStrv) items = g_strsplit (value, ",", -1);

  if (items[0] == NULL || strchr (value, '{') != NULL || strstr (value, ",,") != NULL)
    return FALSE;
  if (g_str_equal (name, "device"))
    return check_device (items);
  if (g_str_equal (name, "netdev") || g_str_equal (name, "nic"))
    return check_network (items);
  return g_strv_contains (plain, name) && strchr (value, '/') == NULL &&
         strstr (value, "splash") == NULL;
}

static gboolean
check_arguments (char **extra, GError **error)
{
  for (guint i = 0; extra[i] != NULL; i++) {
    const char *name = extra[i];
    name += g_str_has_prefix (name, "--") ? 2 : *name == '-';
    if (name == extra[i])
      return refuse (error, "argument '%s' is no option", extra[i]);
    if (g_strv_contains (alone, name))
      continue;
    if (extra[i + 1] == NULL || !check_argument (name, extra[i + 1]))
      return refuse (error, "argument '%s %s' is none that makes a device or a network alone",
                     extra[i], extra[i + 1] != NULL ? extra[i + 1] : "");
    i++;
  }
  return TRUE;
}

/* ---- All of it ---- */

gboolean
peer_spec_check (const char *files, const GuestSpec *spec, GPtrArray *moved, GError **error)
{
  if (spec->driver != GUEST_DRIVER_QEMU) {
    g_set_error_literal (error, API_ERROR, API_NOT_POSSIBLE,
                         "it is a libvirt domain, which libvirt itself moves");
    return FALSE;
  }
  if (g_str_equal (files, PEER_FILES_ANY))
    return TRUE;
  if (!check_program (spec->qemu, error) || !check_arguments (spec->extra, error) ||
      (spec->kernel != NULL && !peer_path_check (files, "kernel", spec->kernel, error)) ||
      (spec->initrd != NULL && !peer_path_check (files, "initrd", spec->initrd, error)))
    return FALSE;
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    gboolean is_moved =
        moved != NULL && g_ptr_array_find_with_equal_func (moved, disk->name, g_str_equal, NULL);
    if (!check_disk (files, disk, is_moved, error))
      return FALSE;
  }
  return TRUE;
}
