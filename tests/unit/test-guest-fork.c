/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-fork.h>

#include <string.h>

/* A spec with these arguments for QEMU, separated by spaces. */
static GuestSpec *
make_spec (const char *extra)
{
  GuestSpec *spec = guest_spec_new ("web");

  spec->uuid = g_strdup ("11111111-2222-3333-4444-555555555555");
  spec->genid = g_strdup ("aaaaaaaa-2222-3333-4444-555555555555");
  g_strfreev (spec->extra);
  spec->extra = g_strsplit (extra, " ", -1);
  return spec;
}

static void
test_possible (void)
{
  static const char *const cases[] = {
    "",
    "-device virtio-rng-pci",
    "-netdev user,id=n0 -device virtio-net-pci,netdev=n0",
    "-netdev tap,id=n0,script=no -device e1000,netdev=n0,mac=52:54:00:12:34:56",
    "-nic user,model=virtio-net-pci",
    "-nic none",
    "-chardev null,id=c0",
    "-drive file=/images/base.qcow2,readonly=on,if=virtio",
    "-blockdev driver=file,filename=/f,node-name=n,read-only=on",
    "-cdrom /images/boot.iso",
    "-vnc none",
    "--device virtio-balloon-pci,id=b0",
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GuestSpec) spec = make_spec (cases[i]);
    g_autoptr (GError) error = NULL;
    guest_spec_check_fork (spec, &error);
    g_assert_no_error (error);
  }
}

static void
test_impossible (void)
{
  static const struct {
    const char *extra, *reason;
  } cases[] = {
    { "-netdev user,id=n0,hostfwd=tcp::2222-:22", "a port of the host can be forwarded to one" },
    { "-nic user,hostfwd=tcp::2222-:22", "a port of the host can be forwarded to one" },
    { "-net user,hostfwd=tcp::2222-:22", "a port of the host can be forwarded to one" },
    { "-netdev tap,id=n0,ifname=tap3", "belongs to one guest" },
    { "-netdev tap,id=n0,fd=7", "belongs to one guest" },
    { "-netdev socket,id=n0,listen=:1234", "can listen on a port" },
    { "-netdev vhost-user,id=n0,chardev=c0", "has one guest at its end" },
    { "-chardev socket,id=c0,path=/run/x,server=on", "cannot serve several guests" },
    { "-chardev file,id=c0,path=/var/log/x", "cannot serve several guests" },
    { "-serial file:/var/log/x", "cannot serve several guests" },
    { "-qmp unix:/run/q,server", "cannot serve several guests" },
    { "-drive file=/images/data.qcow2,if=virtio", "would write to one disk" },
    { "-hda /images/data.qcow2", "would write to one disk" },
    { "--device vfio-pci,host=01:00.0", "belongs to one guest" },
    { "-device vhost-user-fs-pci,chardev=c0", "belongs to one guest" },
    { "-object memory-backend-ram,id=m1,size=1G", "only the guest's RAM" },
    { "-device pc-dimm,memdev=m1", "only the guest's RAM" },
    { "-vnc :1", "can listen on a port" },
    { "-s", "names something of the host" },
    { "-mem-prealloc", "fill memory" },
    { "-readconfig /etc/x", "not known here" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GuestSpec) spec = make_spec (cases[i].extra);
    g_autoptr (GError) error = NULL;
    g_assert_false (guest_spec_check_fork (spec, &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, cases[i].reason));
  }
}

static void
add_disk (GuestSpec *spec, const char *text)
{
  g_ptr_array_add (spec->disks, guest_disk_parse (text, NULL));
}

/* Every hindrance is told, not only the first. */
static void
test_disks (void)
{
  g_autoptr (GuestSpec) spec = make_spec ("-vnc :1");
  g_autoptr (GError) error = NULL;

  add_disk (spec, "/images/base,readonly");
  add_disk (spec, "/images/data,shared");
  add_disk (spec, "/images/swap,exclude");
  g_assert_false (guest_spec_check_fork (spec, &error));
  g_assert_null (strstr (error->message, "/images/base"));
  g_assert_nonnull (strstr (error->message, "/images/data"));
  g_assert_nonnull (strstr (error->message, "/images/swap"));
  g_assert_nonnull (strstr (error->message, "-vnc :1"));
}

static guint
first_byte_of (const char *text)
{
  const char *mac = strstr (text, "mac");

  g_assert_nonnull (mac);
  mac += strcspn (mac, "=:") + 1;
  mac += *mac == '"';
  return g_ascii_xdigit_value (mac[0]) << 4 | g_ascii_xdigit_value (mac[1]);
}

static void
test_identity (void)
{
  g_autoptr (GuestSpec) spec = make_spec (
      "-netdev user,id=n0 -device virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,id=card "
      "-nic user,model=e1000 -net nic,macaddr=52:54:00:12:34:57 "
      "-device {\"driver\":\"e1000\",\"netdev\":\"n1\"} -device virtio-rng-pci -nic none");
  g_autoptr (GuestSpec) one = guest_spec_fork (spec, "web-1");
  g_autoptr (GuestSpec) two = guest_spec_fork (spec, "web-2");
  static const guint cards[] = { 3, 5, 7, 9 };

  g_assert_cmpstr (one->name, ==, "web-1");
  g_assert_cmpstr (one->uuid, !=, spec->uuid);
  g_assert_cmpstr (one->uuid, !=, two->uuid);
  g_assert_cmpstr (one->genid, !=, spec->genid);
  g_assert_cmpstr (one->genid, !=, two->genid);
  g_assert_true (g_uuid_string_is_valid (one->genid));
  g_assert_cmpuint (g_strv_length (one->extra), ==, g_strv_length (spec->extra));
  for (guint i = 0; i < G_N_ELEMENTS (cards); i++) {
    const char *text = one->extra[cards[i]];
    g_assert_cmpstr (text, !=, spec->extra[cards[i]]);
    g_assert_cmpstr (text, !=, two->extra[cards[i]]);
    g_assert_null (strstr (text, "52:54:00"));
    g_assert_cmpuint (first_byte_of (text) & 3, ==, 2); /* of one's own making, unicast */
  }
  g_assert_true (g_str_has_prefix (one->extra[3], "virtio-net-pci,netdev=n0,id=card,mac="));
  g_assert_cmpstr (one->extra[11], ==, "virtio-rng-pci");
  g_assert_cmpstr (one->extra[13], ==, "none");
  g_assert_cmpstr (spec->name, ==, "web");
}

/* What a throw-away run has instead of what leads out; all else stays as it is. */
static void
test_isolate (void)
{
  static const struct {
    const char *extra, *isolated;
  } cases[] = {
    { "", "-no-reboot" },
    { "-device virtio-rng-pci", "-device virtio-rng-pci -no-reboot" },
    { "-netdev user,id=n0,hostfwd=tcp::2222-:22,ipv6=off",
      "-netdev user,restrict=on,id=n0,ipv6=off -no-reboot" },
    { "-nic user,model=e1000,restrict=off", "-nic user,restrict=on,model=e1000 -no-reboot" },
    { "-netdev tap,id=n0,ifname=tap3,vhost=on,script=/x",
      "-netdev tap,script=no,downscript=no,id=n0,vhost=on -no-reboot" },
    { "-netdev bridge,id=n0,br=br0", "-netdev tap,script=no,downscript=no,id=n0 -no-reboot" },
    { "-netdev socket,id=n0,listen=:1234", "-netdev user,restrict=on,id=n0 -no-reboot" },
    { "-nic none", "-nic none -no-reboot" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GuestSpec) spec =
        make_spec (*cases[i].extra != '\0' ? cases[i].extra : "-no-reboot");
    g_autoptr (GError) error = NULL;
    if (*cases[i].extra == '\0')
      g_clear_pointer (&spec->extra[0], g_free);
    guest_spec_isolate (spec, &error);
    g_assert_no_error (error);
    g_autofree char *text = g_strjoinv (" ", spec->extra);
    g_assert_cmpstr (text, ==, cases[i].isolated);
  }
}

/* Its disks are replaced; what else cannot be had twice is refused. */
static void
test_isolate_impossible (void)
{
  static const char *const cases[] = {
    "-netdev vhost-user,id=n0,chardev=c0",
    "-device vfio-pci,host=01:00.0",
    "-chardev socket,id=c0,path=/s,server=on",
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GuestSpec) spec = make_spec (cases[i]);
    g_autoptr (GError) error = NULL;
    g_ptr_array_add (spec->disks, guest_disk_new ("/d"));
    g_assert_false (guest_spec_isolate (spec, &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
    g_assert_null (strstr (error->message, "/d"));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guest-fork/possible", test_possible);
  g_test_add_func ("/guest-fork/impossible", test_impossible);
  g_test_add_func ("/guest-fork/disks", test_disks);
  g_test_add_func ("/guest-fork/identity", test_identity);
  g_test_add_func ("/guest-fork/isolate", test_isolate);
  g_test_add_func ("/guest-fork/isolate-impossible", test_isolate_impossible);
  return g_test_run();
}
