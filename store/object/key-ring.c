/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "key-ring.h"

#include <string.h>

#define UUID_CHARS 36

gboolean
key_expected (gboolean encrypted, const KeyMaterial *material, GError **error)
{
  if (encrypted == (material != NULL))
    return TRUE;
  if (encrypted)
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED,
                         "the store is encrypted: give its key with --key-file FILE, "
                         "--password-file FILE or VMCKPT_KEY_FILE, or call from a terminal to be "
                         "asked for a password");
  else
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_KEY_WRONG,
                         "a key was given, but the store that lies there is not encrypted: "
                         "nothing was read or written, as it may have been put in the place of "
                         "yours; if it is the right one, give no key (is VMCKPT_KEY_FILE set?)");
  return FALSE;
}

/* ---- What is there ---- */

char *
key_object_name (const char *key_id)
{
  return g_strconcat (KEY_PREFIX, key_id, NULL);
}

void
key_names_clear (KeyNames *names)
{
  g_clear_pointer (&names->ids, g_ptr_array_unref);
  g_clear_pointer (&names->going, g_hash_table_unref);
}

static gboolean
collect_name (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  KeyNames *names = user_data;
  const char *id = name + strlen (KEY_PREFIX);
  g_autofree char *uuid = g_strndup (id, UUID_CHARS);

  if (!g_uuid_string_is_valid (uuid))
    return TRUE;
  if (g_str_equal (id + UUID_CHARS, KEY_MARK_SUFFIX))
    g_hash_table_add (names->going, g_steal_pointer (&uuid));
  else if (id[UUID_CHARS] == 0)
    g_ptr_array_add (names->ids, g_steal_pointer (&uuid));
  return TRUE;
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char **)a, *(const char **)b);
}

gboolean
key_names_list (Backend *backend, KeyNames *names, GError **error)
{
  names->ids = g_ptr_array_new_with_free_func (g_free);
  names->going = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (!backend->ops->list (backend, KEY_PREFIX, collect_name, names, error))
    return FALSE;
  g_ptr_array_sort (names->ids, compare_strings);
  return TRUE;
}

/* An object's bytes, no more than one can have. */
static GBytes *
get_bounded (Backend *backend, const char *name, GError **error)
{
  guint64 size;

  if (!backend->ops->stat (backend, name, &size, error))
    return NULL;
  if (size <= KEY_OBJECT_MAX_BYTES)
    return backend->ops->get (backend, name, 0, G_MAXSIZE, error);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s is longer than a key can be", name);
  return NULL;
}

KeyObject *
key_load (Backend *backend, const char *key_id, GBytes **bytes, GError **error)
{
  g_autofree char *name = key_object_name (key_id);

  *bytes = get_bounded (backend, name, error);
  KeyObject *object = *bytes != NULL ? key_object_read (*bytes, error) : NULL;
  if (*bytes != NULL && object == NULL)
    g_prefix_error (error, "%s is damaged: ", name);
  return object;
}

gboolean
key_is_damage (const GError *error)
{
  return g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED) ||
         g_error_matches (error, STORE_ERROR, STORE_ERROR_VERSION);
}

/* ---- Opening ---- */

/* What was tried, for a message when nothing opened. */
typedef struct {
  guint fitting; /* keys of the kind that was given */
  guint others;
  char *damage; /* (nullable): what is wrong with the first that is damaged */
} Attempts;

static void
attempts_clear (Attempts *attempts)
{
  g_free (attempts->damage);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Attempts, attempts_clear)

/* Tries one key. NULL without @error if it is another one's, gone, or damaged. */
static MasterKey *
try_key (Backend *backend, const char *store_id, const char *key_id, const KeyMaterial *material,
         Attempts *attempts, GError **error)
{
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) cause = NULL;
  g_autoptr (MasterKey) master = NULL;
  g_autofree char *name = key_object_name (key_id);
  g_autoptr (KeyObject) object = key_load (backend, key_id, &bytes, &cause);

  /* One of another store: what an init that was cut off has left. */
  if (object != NULL && !g_str_equal (object->store_id, store_id))
    return NULL;
  if (object != NULL) {
    *(object->kind == material->kind ? &attempts->fitting : &attempts->others) += 1;
    master = key_object_open (object, material, &cause);
  }
  if (master != NULL && master_key_check_text (master, name, bytes, &cause))
    return g_steal_pointer (&master);
  if (cause == NULL || g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    return NULL;
  if (!key_is_damage (cause))
    g_propagate_error (error, g_steal_pointer (&cause));
  else if (attempts->damage == NULL)
    attempts->damage = g_strdup (cause->message);
  return NULL;
}

static void
set_not_opened (const Attempts *attempts, const KeyMaterial *material, GError **error)
{
  const char *given = material->kind == KEY_PASSWORD ? "password" : "key file";

  if (attempts->fitting == 0 && attempts->damage != NULL)
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s; no other key of the store is a %s",
                 attempts->damage, given);
  else if (attempts->fitting + attempts->others == 0)
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                         "it is encrypted, but no key is left in " KEY_PREFIX
                         ": without one, nothing opens it");
  else if (attempts->fitting == 0)
    g_set_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG,
                 "no key of the store is a %s: give what it was made with", given);
  else
    g_set_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG,
                 "no key of the store is the %s that was given%s%s%s", given,
                 attempts->damage != NULL ? " (but " : "",
                 attempts->damage != NULL ? attempts->damage : "",
                 attempts->damage != NULL ? ")" : "");
}

MasterKey *
key_unlock (Backend *backend, const char *store_id, const KeyMaterial *material, char **key_id,
            GError **error)
{
  g_auto (KeyNames) names = { 0 };
  g_auto (Attempts) attempts = { 0 };
  g_autoptr (GError) cause = NULL;

  if (!key_names_list (backend, &names, error))
    return NULL;
  for (guint i = 0; i < MIN (names.ids->len, KEYS_MAX); i++) {
    MasterKey *master =
        try_key (backend, store_id, names.ids->pdata[i], material, &attempts, &cause);
    if (master != NULL) {
      *key_id = g_strdup (names.ids->pdata[i]);
      return master;
    }
    if (cause != NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
  set_not_opened (&attempts, material, error);
  return NULL;
}

/* ---- Putting ---- */

static gboolean
check_label (const char *label, GError **error)
{
  gboolean good =
      label == NULL || (strlen (label) <= KEY_LABEL_MAX && g_utf8_validate (label, -1, NULL));

  for (const char *at = label; good && at != NULL && *at != 0; at = g_utf8_next_char (at))
    good = !g_unichar_iscntrl (g_utf8_get_char (at));
  if (!good)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                         "a key's label is at most 64 bytes of text without control characters");
  return good;
}

gboolean
key_put_durably (Backend *backend, const char *name, GBytes *bytes, GError **error)
{
  gboolean existed;

  if (!backend->ops->put_if_absent (backend, name, bytes, &existed, error))
    return FALSE;
  if (backend->ops->sync (backend, error))
    return TRUE;
  backend->ops->remove (backend, name, NULL);
  return FALSE;
}

char *
key_put (Backend *backend, const char *store_id, const MasterKey *master,
         const KeyMaterial *material, const char *label, GError **error)
{
  g_autofree char *key_id = g_uuid_string_random();
  g_autofree char *name = key_object_name (key_id);

  if (!check_label (label, error))
    return NULL;
  g_autoptr (GBytes) bytes =
      key_object_write (name, store_id, master, material, label, &kdf_cost_default, error);
  return bytes != NULL && key_put_durably (backend, name, bytes, error) ? g_steal_pointer (&key_id)
                                                                        : NULL;
}

void
key_drop (Backend *backend, const char *key_id)
{
  g_autofree char *name = key_object_name (key_id);
  backend->ops->remove (backend, name, NULL);
}
