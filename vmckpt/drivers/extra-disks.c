/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "extra-disks.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define NODE_DEPTH 16

/* The value of the first of @keys that @value ("[TYPE,]key=…,key=…") has; newly allocated, NULL: it
 * has none. QEMU doubles commas in values. */
static char *
find_value (const char *value, const char *const *keys)
{
  g_autoptr (GString) text = g_string_new (value);

  /* What cannot be in an argument stands for a comma meanwhile. */
  g_string_replace (text, ",,", "\1", 0);
  g_auto (GStrv) parts = g_strsplit (text->str, ",", -1);
  for (; *keys != NULL; keys++)
    for (guint i = 0; parts[i] != NULL; i++) {
      gsize length = strlen (*keys);
      if (strncmp (parts[i], *keys, length) == 0 && parts[i][length] == '=')
        return g_strdelimit (g_strdup (parts[i] + length + 1), "\1", ',');
    }
  return NULL;
}

#define FIND_VALUE(value, ...) find_value (value, (const char *const[]){ __VA_ARGS__, NULL })

static gboolean
is_on (const char *value)
{
  return g_strcmp0 (value, "on") == 0 || g_strcmp0 (value, "true") == 0 ||
         g_strcmp0 (value, "yes") == 0;
}

/* Drivers that keep nothing, by name or as the beginning of a URL. */
static gboolean
is_nothing (const char *driver)
{
  static const char *const names[] = { "null-co", "null-aio", NULL };
  g_autofree char *name = driver != NULL ? g_strndup (driver, strcspn (driver, ":")) : NULL;

  return name != NULL && g_strv_contains (names, name);
}

static gboolean
is_harmless_text (const char *value, gboolean drive)
{
  g_autofree char *readonly = FIND_VALUE (value, "readonly", "read-only");
  g_autofree char *media = FIND_VALUE (value, "media");
  g_autofree char *driver = FIND_VALUE (value, "driver", "file.driver", "file");
  g_autofree char *file = FIND_VALUE (value, "file", "filename", "file.filename");

  return is_on (readonly) || g_strcmp0 (media, "cdrom") == 0 || is_nothing (driver) ||
         (drive && file == NULL && driver == NULL);
}

static gboolean
is_harmless_json (const char *value)
{
  g_autoptr (JsonObject) node =
      json_parse_bounded (value, strlen (value), GUEST_TEXT_MAX, NODE_DEPTH, NULL);

  return node != NULL && (json_get_bool_or (node, "read-only", FALSE) ||
                          is_nothing (json_get_string_or (node, "driver", NULL)));
}

/* What --disk would be given. */
static char *
file_of (const char *value)
{
  char *file = value[0] != '{' ? FIND_VALUE (value, "file", "filename", "file.filename") : NULL;

  return file != NULL ? file : g_strdup ("FILE");
}

static char *
describe (const char *option, const char *value, const char *file)
{
  return g_strdup_printf ("%s %s among the arguments for QEMU is a disk that is written, and would "
                          "be in no checkpoint: write --disk '%s' instead ('%s,shared' or "
                          "'%s,exclude' if it is not to be captured), or make it read-only",
                          option, value, file, file, file);
}

/* Options whose value is a file that is written. */
static gboolean
is_file_option (const char *name)
{
  static const char *const names[] = { "hda", "hdb",      "hdc",    "hdd", "fda",
                                       "fdb", "mtdblock", "pflash", "sd",  NULL };

  return g_strv_contains (names, name);
}

char *
extra_disks_find (const char *const *extra)
{
  for (guint i = 0; extra[i] != NULL && extra[i + 1] != NULL; i++) {
    const char *value = extra[i + 1];
    const char *name = extra[i] + (g_str_has_prefix (extra[i], "--") ? 2 : 1);
    gboolean drive;

    if (extra[i][0] != '-')
      continue;
    if (is_file_option (name))
      return describe (extra[i], value, value);
    drive = g_str_equal (name, "drive");
    if (!drive && !g_str_equal (name, "blockdev"))
      continue;
    if (value[0] == '{' ? !is_harmless_json (value) : !is_harmless_text (value, drive)) {
      g_autofree char *file = file_of (value);
      return describe (extra[i], value, file);
    }
  }
  return NULL;
}
