{% with rev.created|date:"Y-m-d H:i:s" as moment %}
{% if is_deleted %}
    {% button class="btn btn-danger"
        text=[_"Recover the version of", " ", moment, "…"]
        action={dialog_open title=_"Recover this page" template="_dialog_backup_revert.tpl" rsc_id=id rev_id=rev.id is_deleted moment=moment}
    %}
{% else %}
    {% button class="btn btn-danger"
        text=[_"Go back to the version of", " ", moment, "…"]
        action={dialog_open title=_"Go back to an earlier version" template="_dialog_backup_revert.tpl" rsc_id=id rev_id=rev.id moment=moment}
    %}
{% endif %}
{% endwith %}
