/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-format.h"

#include <math.h>
#include <string.h>

char *
format_size (double bytes)
{
  static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
  guint unit = 0;

  if (bytes < 1024)
    return g_strdup_printf ("%.0f B", bytes);
  /* 1023.96 would be shown as 1024.0: it is 1.0 of the next unit. */
  for (bytes /= 1024; bytes >= 1023.95 && unit + 1 < G_N_ELEMENTS (units); unit++)
    bytes /= 1024;
  return g_strdup_printf ("%.1f %s", bytes, units[unit]);
}

char *
format_clock (double seconds)
{
  /* An absurd estimate is shown as a bound, not as an overflow. */
  guint64 whole = ceil (CLAMP (seconds, 0, 359999));
  guint hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;

  if (hours > 0)
    return g_strdup_printf ("%u:%02u:%02u", hours, minutes, rest);
  return g_strdup_printf ("%u:%02u", minutes, rest);
}

char *
format_ms (double ms)
{
  if (ms < 99.95)
    return g_strdup_printf ("%.1f ms", ms);
  if (ms < 999.5)
    return g_strdup_printf ("%.0f ms", ms);
  if (ms < 59950)
    return g_strdup_printf ("%.1f s", ms / 1000);
  return format_clock (ms / 1000);
}

char *
format_time (guint64 us)
{
  g_autoptr (GDateTime) time = NULL;

  if (us > 0 && us / G_USEC_PER_SEC < G_MAXINT64)
    time = g_date_time_new_from_unix_local (us / G_USEC_PER_SEC);
  return time != NULL ? g_date_time_format (time, "%Y-%m-%d %H:%M:%S") : g_strdup ("-");
}

static char *
clean_except (const char *text, gunichar allowed)
{
  g_autoptr (GString) clean = g_string_new (NULL);
  g_autofree char *valid = g_utf8_make_valid (text, -1);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    g_string_append_unichar (clean, g_unichar_iscntrl (c) && c != allowed ? '?' : c);
  }
  return g_string_free (g_steal_pointer (&clean), FALSE);
}

char *
format_clean (const char *text)
{
  return clean_except (text, '\0');
}

char *
format_clean_lines (const char *text)
{
  return clean_except (text, '\n');
}

char *
format_id (const char *id)
{
  g_autofree char *clean = id != NULL ? format_clean (id) : NULL;

  return clean != NULL
             ? g_utf8_substring (clean, 0, MIN (g_utf8_strlen (clean, -1), SHORT_ID_DIGITS))
             : g_strdup ("-");
}

gboolean
json_get_number (JsonObject *object, const char *member, double *value)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node) ||
      (json_node_get_value_type (node) != G_TYPE_INT64 &&
       json_node_get_value_type (node) != G_TYPE_DOUBLE))
    return FALSE;
  *value = json_node_get_double (node);
  return isfinite (*value);
}

char *
format_size_member (JsonObject *object, const char *member)
{
  double value;
  return json_get_number (object, member, &value) ? format_size (value) : g_strdup ("-");
}

char *
format_ms_member (JsonObject *object, const char *member)
{
  double value;
  return json_get_number (object, member, &value) ? format_ms (value) : g_strdup ("-");
}

char *
format_count_member (JsonObject *object, const char *member)
{
  double value;
  return json_get_number (object, member, &value) ? g_strdup_printf ("%.0f", value)
                                                  : g_strdup ("-");
}

char *
format_time_member (JsonObject *object, const char *member)
{
  return format_time (json_get_uint64_or (object, member, 0));
}

char *
format_id_member (JsonObject *object, const char *member)
{
  return format_id (json_get_string_or (object, member, NULL));
}

char *
format_text_member (JsonObject *object, const char *member)
{
  const char *text = json_get_string_or (object, member, NULL);
  return text != NULL && *text != '\0' ? format_clean (text) : g_strdup ("-");
}

/* Joins the strings of an array, each as @format makes it. */
static char *
join_members (JsonObject *object, const char *member, char *(*format) (const char *text))
{
  JsonArray *array = json_get_array (object, member, NULL);
  g_autoptr (GString) joined = g_string_new (NULL);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    const char *text = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
    g_autofree char *part = format (text != NULL ? text : "?");
    g_string_append_printf (joined, "%s%s", joined->len > 0 ? ", " : "", part);
  }
  return joined->len > 0 ? g_string_free (g_steal_pointer (&joined), FALSE) : g_strdup ("-");
}

char *
format_strings_member (JsonObject *object, const char *member)
{
  return join_members (object, member, format_clean);
}

char *
format_ids_member (JsonObject *object, const char *member)
{
  return join_members (object, member, format_id);
}
