{% extends "admin_base.tpl" %}

{# title, user_html and the html of rows are made of escaped text by the controller. #}

{% block title %}{_ Revisions of _} {{ title }}{% endblock %}

{% block head_extra %}
    {% inherit %}
    <style type="text/css" nonce="{{ m.req.csp_nonce }}">
        #revisions td { vertical-align: middle; white-space: nowrap; }
        #revisions tr.active td { font-weight: bold; }
        #revision-diff td { overflow-wrap: anywhere; }
        #revision-diff th { width: 20%; }
        #revision-diff ins { background: #dfd; text-decoration: none; }
        #revision-diff del { background: #fdd; }
    </style>
{% endblock %}

{% block content %}
<div class="admin-header">
    <h2><span class="text-muted">{_ Revisions of _}</span> {{ title|default:_"Untitled" }}</h2>
    {% if is_deleted %}
        <p>{_ This page has been deleted. It can be recovered from one of its revisions. _}</p>
        {% if m.acl.use.mod_backup %}
            <p><a class="btn btn-default btn-sm" href="{% url admin_backup_deleted %}">{_ All deleted pages _}</a></p>
        {% endif %}
    {% else %}
        <p><a class="btn btn-default btn-sm" href="{% url admin_edit_rsc id=id %}">{_ Back to the edit page _}</a></p>
    {% endif %}
    <p class="text-muted">
        {% trans "Revisions are kept for {months} months, those of users for {days} days, and those of deleted users for {gone} days after the deletion."
            months=m.backup_revision.retention_months
            days=m.backup_revision.user_retention_days
            gone=m.backup_revision.deleted_user_retention_days %}
    </p>
</div>

{% if not revisions %}
    <p class="alert alert-info">{_ There are no revisions of this page. _}</p>
{% else %}
<div class="row">
    <div class="col-lg-4 col-md-4">
        <form method="GET" action="{% url admin_backup_revision id=id %}">
            <table class="table table-condensed" id="revisions">
                <thead>
                    <tr><th>{_ Old _}</th><th>{_ New _}</th><th>{_ Saved on _}</th></tr>
                </thead>
                <tbody>
                {% for rev in revisions %}
                    <tr{% if rev.id == old.id or rev.id == new.id %} class="active"{% endif %}>
                        <td><input type="radio" name="a" value="{{ rev.id }}"{% if rev.id == old.id %} checked{% endif %} aria-label="{_ Old version _}"></td>
                        <td><input type="radio" name="b" value="{{ rev.id }}"{% if rev.id == new.id %} checked{% endif %} aria-label="{_ New version _}"></td>
                        <td>
                            {{ rev.created|date:"Y-m-d H:i:s" }}
                            {% if rev.type == "D" %}<span class="label label-danger">{_ deleted _}</span>{% endif %}
                            <br><span class="text-muted">{{ rev.user_html }}</span>
                        </td>
                    </tr>
                {% endfor %}
                </tbody>
            </table>
            <button class="btn btn-primary" type="submit">{_ Show what changed _}</button>
            {% if newer or older %}
                <input type="hidden" name="page" value="{{ page }}">
                <p>
                    {% if newer %}<a class="btn btn-default btn-sm" href="{% url admin_backup_revision id=id a=old.id b=new.id page=newer %}">{_ Newer versions _}</a>{% endif %}
                    {% if older %}<a class="btn btn-default btn-sm" href="{% url admin_backup_revision id=id a=old.id b=new.id page=older %}">{_ Older versions _}</a>{% endif %}
                </p>
            {% endif %}
        </form>
    </div>

    <div class="col-lg-8 col-md-8" id="revision-diff">
        {% if is_diff %}
            <p>
                {_ Changes between _} <strong>{{ old.created|date:"Y-m-d H:i:s" }}</strong>
                {_ and _} <strong>{{ new.created|date:"Y-m-d H:i:s" }}</strong>
            </p>
        {% else %}
            <p>{_ This is the version of _} <strong>{{ new.created|date:"Y-m-d H:i:s" }}</strong></p>
        {% endif %}

        {% if is_unreadable %}
            <p class="alert alert-warning">{_ What is stored of this version cannot be read. _}</p>
        {% elseif not rows %}
            <p class="alert alert-info">{_ Nothing is different. _}</p>
        {% else %}
            <table class="table">
            {% for row in rows %}
                <tr>
                    <th>{{ row.key|escape }}{% if row.language %} <span class="label label-default">{{ row.language|escape }}</span>{% endif %}</th>
                    <td>{{ row.html }}</td>
                </tr>
            {% endfor %}
            </table>
        {% endif %}

        <p>
        {% if is_diff %}
            {% include "_admin_backup_revision_revert.tpl" rev=old %}
        {% endif %}
        {% include "_admin_backup_revision_revert.tpl" rev=new %}
        </p>
    </div>
</div>
{% endif %}
{% endblock %}
