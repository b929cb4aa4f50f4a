{% wire id="backup-revert" type="submit"
    action={mask body message=_"Please wait…"}
    postback={revert rsc_id=rsc_id rev_id=rev_id}
    delegate=`controller_admin_backup_revision`
%}
<form id="backup-revert" class="form" action="postback">
    <p>
        {% if is_deleted %}{_ The page will be as it was on _}{% else %}{_ The page will be again as it was on _}{% endif %}
        <strong>{{ moment }}</strong>.
        {% if not is_deleted %}{_ What it is now stays in its revisions. _}{% endif %}
    </p>

    <div class="form-group">
        <label class="checkbox"><input type="checkbox" name="outgoing_edges" value="1" checked>
            {_ Bring back its connections to other pages _}</label>
        <label class="checkbox"><input type="checkbox" name="incoming_edges" value="1" checked>
            {_ Bring back the connections of other pages to it _}</label>
        <label class="checkbox"><input type="checkbox" name="dependent" value="1" checked>
            {_ Recover deleted <em>dependent</em> pages that it was connected to _}</label>
    </div>

    <p class="help-block">
        {_ The media of the page comes back as long as its file is kept: four weeks after it was deleted, or as long as the cloud file store keeps it. _}
    </p>

    <div class="modal-footer">
        {% button class="btn btn-default" action={dialog_close} text=_"Cancel" tag="a" %}
        <button class="btn btn-danger" type="submit">{% if is_deleted %}{_ Recover _}{% else %}{_ Go back _}{% endif %}</button>
    </div>
</form>
