{% wire id=#form type="submit" postback={restore_backup name=backup.name timestamp=backup.timestamp} delegate=`controller_admin_backup` %}
<form id="{{ #form }}" method="post" action="postback">
    <p>
        {% trans "The site becomes as it was on {date}. What was written since is lost." date=backup.timestamp|date:_"Y-m-d H:i" %}
        {_ The backup is proven first; when it is not whole, nothing is touched. The site is started again at the end. _}
    </p>
    <fieldset>
        <legend class="h5">{_ What to restore _}</legend>
        {% if backup.is_database_present %}
            <div class="checkbox"><label><input type="checkbox" name="database" value="1" checked> {_ The database _}</label></div>
        {% endif %}
        {% if backup.is_files_present %}
            <div class="checkbox"><label><input type="checkbox" name="files" value="1" checked> {_ The media files (files that are not in the backup stay) _}</label></div>
        {% endif %}
        {% if backup.is_config_files_present %}
            <div class="checkbox"><label><input type="checkbox" name="config" value="1"> {_ The configuration files _}</label></div>
            <div class="checkbox"><label><input type="checkbox" name="security" value="1"> {_ Certificates and secrets _}</label></div>
        {% endif %}
    </fieldset>
    {% if backup.is_database_present and not backup.is_encrypted %}
        <p class="alert alert-warning">
            {_ This backup is not encrypted: nothing proves who made it. While it is restored, it can do whatever the site can do in its database. Restore it only when you know where it was kept. _}
        </p>
    {% endif %}
    <div class="form-group">
        <label for="{{ #confirm }}">{_ Type the name of the site to confirm _} (<code>{{ m.site.site|default:m.site.sitename }}</code>)</label>
        <input id="{{ #confirm }}" class="form-control do_autofocus" type="text" name="confirm" autocomplete="off" autofocus>
    </div>
    <div class="modal-footer">
        {% button class="btn btn-default" text=_"Cancel" action={dialog_close} tag="a" %}
        <button class="btn btn-danger" type="submit">{_ Restore _}</button>
    </div>
</form>
