/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-fork.h>

#include <vmckpt/util/json.h>

#include <string.h>

#define ADDRESS_BYTES 6
#define DEVICE_JSON_DEPTH 8

/* One of QEMU's arguments, with its value if it has one. */
typedef struct {
  const char *option; /* without dashes */
  const char *value;  /* (nullable) */
  guint value_index;  /* in the list of arguments */
} Argument;

/* The argument at @*index, which is then that of the next one. */
static Argument
next_argument (char *const *extra, guint *index)
{
  const char *text = extra[*index];
  Argument argument = { .option = text };

  if (text[0] == '-')
    argument.option += text[1] == '-' ? 2 : 1;
  (*index)++;
  if (text[0] == '-' && extra[*index] != NULL && extra[*index][0] != '-') {
    argument.value = extra[*index];
    argument.value_index = (*index)++;
  }
  return argument;
}

/* TRUE if @value ("type,key=…,key=…") has this key. */
static gboolean
has_key (const char *value, const char *key)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  gsize len = strlen (key);

  for (guint i = 0; parts[i] != NULL; i++)
    if (strncmp (parts[i], key, len) == 0 && parts[i][len] == '=')
      return TRUE;
  return FALSE;
}

static gboolean
has_part (const char *value, const char *part)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  return g_strv_contains ((const char *const *)parts, part);
}

/* What stands before the first comma. */
static char *
first_part (const char *value)
{
  return g_strndup (value, strcspn (value, ",:"));
}

/* ---- What cannot be forked. Each returns the hindrance, static, or NULL. ---- */

static const char *
check_network (const char *value)
{
  static const char *const kinds[] = { "user", "tap", "bridge", "hubport", "socket", "none", NULL };
  g_autofree char *kind = first_part (value);

  if (!g_strv_contains (kinds, kind))
    return "a network connection of this kind has one guest at its end";
  if (has_key (value, "hostfwd"))
    return "a port of the host can be forwarded to one guest only";
  if (has_key (value, "ifname"))
    return "a network interface of the host belongs to one guest only";
  if (has_key (value, "listen"))
    return "one guest only can listen on a port of the host";
  if (has_key (value, "fd") || has_key (value, "fds"))
    return "an inherited descriptor belongs to one guest only";
  return NULL;
}

static const char *
check_channel (const char *value)
{
  static const char *const own[] = { "null", "pty", "ringbuf", "memory",
                                     "none", "vc",  "chardev", NULL };
  g_autofree char *kind = first_part (value);

  return g_strv_contains (own, kind) ? NULL
                                     : "a file or socket of the host cannot serve several guests";
}

static const char *
check_block (const char *value)
{
  gboolean readonly = has_part (value, "readonly=on") || has_part (value, "read-only=on") ||
                      has_part (value, "media=cdrom") || has_part (value, "readonly") ||
                      strstr (value, "\"read-only\": true") != NULL ||
                      strstr (value, "\"read-only\":true") != NULL;

  return readonly || has_part (value, "snapshot=on") ? NULL
                                                     : "several guests would write to one disk";
}

static const char *
check_device (const char *value)
{
  static const char *const hosts[] = { "vfio-",    "vhost-",     "ivshmem",
                                       "usb-host", "scsi-block", "scsi-generic" };
  static const char *const memory[] = { "pc-dimm", "nvdimm", "virtio-pmem", "virtio-mem" };

  for (guint i = 0; i < G_N_ELEMENTS (hosts); i++)
    if (g_str_has_prefix (value, hosts[i]))
      return "a device of the host, or a back end outside QEMU, belongs to one guest only";
  for (guint i = 0; i < G_N_ELEMENTS (memory); i++)
    if (g_str_has_prefix (value, memory[i]))
      return "only the guest's RAM is copied on write, not memory devices";
  return NULL;
}

static const char *
check_object (const char *value)
{
  return g_str_has_prefix (value, "memory-backend")
             ? "only the guest's RAM is copied on write, not memory of other back ends"
             : NULL;
}

static const char *
check_screen (const char *value)
{
  return g_str_equal (value, "none") || has_part (value, "none")
             ? NULL
             : "one guest only can listen on a port of the host";
}

static const char *
refuse_disk (const char *value)
{
  return "several guests would write to one disk";
}

static const char *
refuse_host (const char *value)
{
  return "it names something of the host that one guest only can have";
}

static const char *
refuse_unknown (const char *value)
{
  return "what it says is not known here";
}

static const char *
refuse_memory (const char *value)
{
  return "it would fill memory before the guests share it";
}

static const struct {
  const char *option;
  const char *(*check) (const char *value);
} checks[] = {
  { "netdev", check_network },
  { "nic", check_network },
  { "chardev", check_channel },
  { "serial", check_channel },
  { "parallel", check_channel },
  { "monitor", check_channel },
  { "qmp", check_channel },
  { "qmp-pretty", check_channel },
  { "debugcon", check_channel },
  { "drive", check_block },
  { "blockdev", check_block },
  { "device", check_device },
  { "object", check_object },
  { "vnc", check_screen },
  { "hda", refuse_disk },
  { "hdb", refuse_disk },
  { "hdc", refuse_disk },
  { "hdd", refuse_disk },
  { "fda", refuse_disk },
  { "fdb", refuse_disk },
  { "pflash", refuse_disk },
  { "sd", refuse_disk },
  { "mtdblock", refuse_disk },
  { "spice", refuse_host },
  { "gdb", refuse_host },
  { "s", refuse_host },
  { "pidfile", refuse_host },
  { "tpmdev", refuse_host },
  { "virtfs", refuse_host },
  { "fsdev", refuse_host },
  { "add-fd", refuse_host },
  { "readconfig", refuse_unknown },
  { "mem-prealloc", refuse_memory },
  { "mem-path", refuse_memory },
};

/* `-net nic` is a card, any other `-net` a connection. */
static const char *
check_argument (const Argument *argument)
{
  const char *value = argument->value != NULL ? argument->value : "";

  if (g_str_equal (argument->option, "net"))
    return g_str_has_prefix (value, "nic") ? NULL : check_network (value);
  for (guint i = 0; i < G_N_ELEMENTS (checks); i++)
    if (g_str_equal (argument->option, checks[i].option))
      return checks[i].check (value);
  return NULL;
}

gboolean
guest_spec_check_fork (const GuestSpec *spec, GError **error)
{
  g_autoptr (GString) hindrances = g_string_new (NULL);

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    /* A captured one each fork has for itself, from the checkpoint. */
    if (disk->path != NULL && (disk->mode == DISK_SHARED || disk->mode == DISK_EXCLUDE))
      g_string_append_printf (hindrances,
                              "; disk %s: several guests would write to it, as it is not captured",
                              disk->path);
  }
  for (guint i = 0; spec->extra[i] != NULL;) {
    Argument argument = next_argument (spec->extra, &i);
    const char *hindrance = check_argument (&argument);
    if (hindrance != NULL)
      g_string_append_printf (hindrances, "; -%s %s: %s", argument.option,
                              argument.value != NULL ? argument.value : "", hindrance);
  }
  if (hindrances->len == 0)
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
               "guest %s cannot be forked: %s. A guest without these can", spec->name,
               hindrances->str + 2);
  return FALSE;
}

/* ---- Network cards ---- */

/* Locally administered, unicast, otherwise random. */
static char *
make_address (void)
{
  guint8 bytes[ADDRESS_BYTES];

  for (guint i = 0; i < ADDRESS_BYTES; i++)
    bytes[i] = g_random_int_range (0, 256);
  bytes[0] = (bytes[0] & 0xfc) | 0x02;
  return g_strdup_printf ("%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                          bytes[4], bytes[5]);
}

/* @value with @key set to a new address. */
static char *
set_address (const char *value, const char *key)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  g_autofree char *address = make_address();
  g_autoptr (GString) text = g_string_new (NULL);
  gsize len = strlen (key);

  for (guint i = 0; parts[i] != NULL; i++)
    if (strncmp (parts[i], key, len) != 0 || parts[i][len] != '=')
      g_string_append_printf (text, "%s%s", text->len > 0 ? "," : "", parts[i]);
  g_string_append_printf (text, ",%s=%s", key, address);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* A device that was given as JSON; NULL if it is no network card. */
static char *
set_address_in_json (const char *value)
{
  g_autoptr (JsonObject) object =
      json_parse_bounded (value, strlen (value), GUEST_TEXT_MAX, DEVICE_JSON_DEPTH, NULL);
  g_autofree char *address = make_address();

  if (object == NULL || !json_object_has_member (object, "netdev"))
    return NULL;
  json_object_set_string_member (object, "mac", address);
  return json_to_line (object);
}

/* The argument's value for another guest, or NULL if it is the same for all. */
static char *
renew_value (const Argument *argument)
{
  const char *value = argument->value;

  if (value == NULL)
    return NULL;
  if (g_str_equal (argument->option, "device") && value[0] == '{')
    return set_address_in_json (value);
  if (g_str_equal (argument->option, "device") && has_key (value, "netdev"))
    return set_address (value, "mac");
  if (g_str_equal (argument->option, "nic") && !g_str_equal (value, "none"))
    return set_address (value, "mac");
  if (g_str_equal (argument->option, "net") && g_str_has_prefix (value, "nic"))
    return set_address (value, "macaddr");
  return NULL;
}

GuestSpec *
guest_spec_fork (const GuestSpec *spec, const char *name)
{
  GuestSpec *fork = guest_spec_copy (spec);

  g_free (fork->name);
  g_free (fork->uuid);
  g_free (fork->genid);
  fork->name = g_strdup (name);
  fork->uuid = g_uuid_string_random();
  fork->genid = g_uuid_string_random();
  for (guint i = 0; fork->extra[i] != NULL;) {
    Argument argument = next_argument (fork->extra, &i);
    char *renewed = renew_value (&argument);
    if (renewed != NULL) {
      g_free (fork->extra[argument.value_index]);
      fork->extra[argument.value_index] = renewed;
    }
  }
  return fork;
}

/* ---- A throw-away run beside the original ---- */

/* TRUE if @part is "KEY=…" with one of @keys. */
static gboolean
has_one_of (const char *part, const char *const *keys)
{
  gsize len = strcspn (part, "=");

  for (; *keys != NULL; keys++)
    if (strlen (*keys) == len && strncmp (part, *keys, len) == 0)
      return TRUE;
  return FALSE;
}

/* Of @value's parts behind the first those that have one of @keys (@wanted), or none of them. */
static void
add_parts (GString *text, const char *value, const char *const *keys, gboolean wanted)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);

  for (guint i = 1; parts[0] != NULL && parts[i] != NULL; i++)
    if (has_one_of (parts[i], keys) == wanted)
      g_string_append_printf (text, ",%s", parts[i]);
}

/* The value of a network connection that leads nowhere, or NULL if @value does that already, or is
 * not known here. What the card offers its guest depends on the kind, so a tap stays one. */
static char *
cut_off (const char *value)
{
  static const char *const reaches_host[] = { "hostfwd", "guestfwd", "smb",      "smbserver",
                                              "tftp",    "bootfile", "restrict", NULL };
  static const char *const of_tap[] = { "ifname", "fd",     "fds",    "vhostfd",    "vhostfds",
                                        "br",     "helper", "script", "downscript", NULL };
  static const char *const of_card[] = { "id", "model", "mac", "macaddr", "name", "addr", NULL };
  static const char *const others[] = { "socket", "stream", "dgram",  "l2tpv3",
                                        "vde",    "netmap", "af-xdp", NULL };
  g_autofree char *kind = first_part (value);
  g_autoptr (GString) text = g_string_new (NULL);

  if (g_str_equal (kind, "user")) {
    g_string_assign (text, "user,restrict=on");
    add_parts (text, value, reaches_host, FALSE);
  } else if (g_str_equal (kind, "tap") || g_str_equal (kind, "bridge")) {
    g_string_assign (text, "tap,script=no,downscript=no");
    add_parts (text, value, of_tap, FALSE);
  } else if (g_strv_contains (others, kind)) {
    g_string_assign (text, "user,restrict=on");
    add_parts (text, value, of_card, TRUE);
  } else {
    return NULL;
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
append_extra (GuestSpec *spec, const char *argument)
{
  guint count = g_strv_length (spec->extra);

  spec->extra = g_renew (char *, spec->extra, count + 2);
  spec->extra[count] = g_strdup (argument);
  spec->extra[count + 1] = NULL;
}

gboolean
guest_spec_isolate (GuestSpec *spec, GError **error)
{
  g_autoptr (GuestSpec) rest = NULL;
  g_autoptr (GError) cause = NULL;

  for (guint i = 0; spec->extra[i] != NULL;) {
    Argument argument = next_argument (spec->extra, &i);
    gboolean connects = g_str_equal (argument.option, "netdev") ||
                        g_str_equal (argument.option, "nic") ||
                        g_str_equal (argument.option, "net");
    char *value = connects && argument.value != NULL ? cut_off (argument.value) : NULL;
    if (value != NULL) {
      g_free (spec->extra[argument.value_index]);
      spec->extra[argument.value_index] = value;
    }
  }
  append_extra (spec, "-no-reboot");
  /* The rest of what it cannot have beside its original is what forks cannot have; its disks are
   * dealt with by whoever makes them. */
  rest = guest_spec_copy (spec);
  g_ptr_array_set_size (rest->disks, 0);
  if (guest_spec_check_fork (rest, &cause))
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
               "it cannot run a second time, cut off from the network: %s", cause->message);
  return FALSE;
}
