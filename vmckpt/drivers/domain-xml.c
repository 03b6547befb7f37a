/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-xml.h>

#include <libxml/parser.h>
#include <string.h>

/* The encoding is given, so that no declaration changes it; entities stay unexpanded, and there
 * are none but the five of XML where there is no document type. libxml2's own bounds hold: depth
 * 256, 10 MB of text. */
#define PARSE_FLAGS (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)

static gboolean
invalid (GError **error, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "the domain's description %s", problem);
  return FALSE;
}

static gboolean
check_text (const char *xml, gsize len, GError **error)
{
  if (len == 0)
    return invalid (error, "is no XML that can be read");
  if (len > DOMAIN_XML_MAX)
    return invalid (error, "is longer than 4 MiB");
  if (!g_utf8_validate_len (xml, len, NULL))
    return invalid (error, "is not UTF-8");
  if (g_strstr_len (xml, len, "<!DOCTYPE") != NULL)
    return invalid (error, "has a document type, which libvirt's never have");
  return TRUE;
}

xmlDoc *
domain_xml_parse (const char *xml, gsize len, GError **error)
{
  if (!check_text (xml, len, error))
    return NULL;
  g_autoptr (xmlDoc) doc = xmlReadMemory (xml, len, NULL, "UTF-8", PARSE_FLAGS);
  if (doc == NULL || doc->intSubset != NULL || xmlDocGetRootElement (doc) == NULL) {
    invalid (error, "is no XML that can be read");
    return NULL;
  }
  if (strcmp ((const char *)xmlDocGetRootElement (doc)->name, "domain") == 0)
    return g_steal_pointer (&doc);
  invalid (error, "is of something else than a domain");
  return NULL;
}

char *
domain_xml_to_text (xmlDoc *doc)
{
  g_autoptr (GString) text = g_string_new (NULL);
  xmlBuffer *buffer = xmlBufferCreate();

  if (buffer != NULL && xmlNodeDump (buffer, doc, xmlDocGetRootElement (doc), 0, 0) > 0)
    g_string_append_len (text, (const char *)xmlBufferContent (buffer), xmlBufferLength (buffer));
  xmlBufferFree (buffer);
  g_string_append_c (text, '\n');
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static xmlNode *
first_named (xmlNode *node, const char *name, gsize len)
{
  for (; node != NULL; node = node->next)
    if (node->type == XML_ELEMENT_NODE && strlen ((const char *)node->name) == len &&
        strncmp ((const char *)node->name, name, len) == 0)
      return node;
  return NULL;
}

xmlNode *
domain_xml_find (xmlNode *node, const char *path)
{
  while (node != NULL && *path != 0) {
    gsize len = strcspn (path, "/");
    node = first_named (node->children, path, len);
    path += path[len] == '/' ? len + 1 : len;
  }
  return node;
}

xmlNode *
domain_xml_root (xmlDoc *doc)
{
  return xmlDocGetRootElement (doc);
}

xmlNode *
domain_xml_next (xmlNode *node)
{
  const char *name = (const char *)node->name;

  return first_named (node->next, name, strlen (name));
}

/* Takes libxml2's text over. */
static char *
own_text (xmlChar *text)
{
  char *copy = text != NULL ? g_strdup ((const char *)text) : NULL;

  xmlFree (text);
  return copy;
}

char *
domain_xml_text (xmlNode *node, const char *path)
{
  xmlNode *found = domain_xml_find (node, path);
  char *text = found != NULL ? own_text (xmlNodeGetContent (found)) : NULL;

  return text != NULL ? g_strstrip (text) : NULL;
}

char *
domain_xml_element_text (xmlNode *node, const char *path)
{
  xmlNode *found = domain_xml_find (node, path);
  xmlBuffer *buffer = found != NULL ? xmlBufferCreate() : NULL;
  char *text = NULL;

  if (buffer != NULL && xmlNodeDump (buffer, found->doc, found, 0, 0) > 0)
    text = g_strdup ((const char *)xmlBufferContent (buffer));
  if (buffer != NULL)
    xmlBufferFree (buffer);
  return text;
}

char *
domain_xml_attribute (xmlNode *node, const char *path, const char *name)
{
  xmlNode *found = domain_xml_find (node, path);

  return found != NULL ? own_text (xmlGetNoNsProp (found, (const xmlChar *)name)) : NULL;
}

gboolean
domain_xml_attribute_is (xmlNode *node, const char *path, const char *name, const char *value)
{
  g_autofree char *text = domain_xml_attribute (node, path, name);

  return g_strcmp0 (text, value) == 0;
}

void
domain_xml_set_text (xmlNode *node, const char *text)
{
  xmlNodeSetContent (node, NULL);
  xmlNodeAddContent (node, (const xmlChar *)text);
}
